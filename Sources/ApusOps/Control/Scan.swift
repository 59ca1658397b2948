// A loop over the steps of a sequence, as one op that holds its body.
//
//     %3, %4 = scan(%0, %1, %2) {carries=1, slices=1, length=8, reversed=false, recomputes=false, body={
//       input %0 "carry0" : f32[4]
//       input %1 "slice0" : f32[4]
//       input %2 "constant0" : f32[4]
//       %3 = multiply(%0, %2) : f32[4]
//       %4 = add(%3, %1) : f32[4]
//       output "carry0" = %4
//       output "output0" = %4
//     }} : f32[4], f32[8,4]
//
// The body is differentiated, optimised and planned once, however many turns it runs (the parameters are those of
// JAX's `lax.scan`). Carries go from turn to turn; slices are taken from sequences, one a turn; constants are the
// same in each. What a turn gives out is stacked.

import ApusGraph

/// Runs `body` once for each of `length` steps.
///
/// Operands and the body's inputs, in this order: the carries (initial values), the slices (sequences, of which a
/// turn sees one element along axis 0), the constants. Results: the carries after the last turn, then the body's
/// further outputs, each with a first axis of `length`.
package struct Scan: RegionOp {
  package static let mnemonic = "scan"

  /// What a turn does. Its first outputs are the new carries.
  package let body: Graph
  package let carries: Int
  package let slices: Int
  package let length: Int
  /// Whether the last step comes first. Slices and outputs keep their places.
  package let isReversed: Bool
  /// Whether the backward pass makes again what the body makes, from the carries, which are kept.
  package let recomputes: Bool

  package init(
    _ body: Graph, carries: Int, slices: Int, length: Int, isReversed: Bool,
    recomputes: Bool = false
  ) {
    self.body = body
    self.carries = carries
    self.slices = slices
    self.length = length
    self.isReversed = isReversed
    self.recomputes = recomputes
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try attributes.graph("body"), carries: try attributes.int("carries"),
      slices: try attributes.int("slices"), length: try attributes.int("length"),
      isReversed: try attributes.bool("reversed"), recomputes: try attributes.bool("recomputes"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("carries", .int(carries)), Attribute("slices", .int(slices)),
      Attribute("length", .int(length)), Attribute("reversed", .bool(isReversed)),
      Attribute("recomputes", .bool(recomputes)), Attribute("body", .graph(body)),
    ]
  }

  package var regions: [Graph] { [body] }

  package func replacingRegions(_ regions: [Graph]) -> Scan {
    Scan(
      regions[0], carries: carries, slices: slices, length: length, isReversed: isReversed,
      recomputes: recomputes)
  }

  package static func == (a: Scan, b: Scan) -> Bool {
    a.carries == b.carries && a.slices == b.slices && a.length == b.length
      && a.isReversed == b.isReversed && a.recomputes == b.recomputes && a.body.isSame(as: b.body)
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(carries)
    hasher.combine(length)
    hasher.combine(isReversed)
    hasher.combine(body)
  }

  // MARK: The parts

  package var constants: Int { body.inputs.count - carries - slices }
  /// How many of the body's outputs are stacked.
  package var stacks: Int { body.outputs.count - carries }

  /// The type of one element of a sequence, or of a stack, along axis 0.
  private static func element(of type: TensorType) -> TensorType {
    type.with(Shape(Array(type.shape.dimensions.dropFirst())))
  }

  /// Operands are as the body's inputs say, sequences with a first axis of `length`.
  ///
  /// - Throws: `invalidGraph` where the body's inputs and outputs are no scan's, `shapeMismatch` where operands
  ///   do not fit them.
  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard carries >= 0, slices >= 0, length >= 0, constants >= 0, stacks >= 0 else {
      throw ApusError(
        .invalidGraph,
        "scan: a body with \(body.inputs.count) inputs and \(body.outputs.count) outputs",
        expected:
          "\(carries) carries, \(slices) slices and then constants; \(carries) new carries first")
    }
    try expect(body.inputs.count, operands)
    let inputs = body.inputs.map { body.type(of: $0.value) }
    let outputs = body.outputs.map { body.type(of: $0.operand) }
    for (index, (operand, input)) in zip(operands, inputs).enumerated() {
      let isSlice = (carries..<carries + slices).contains(index)
      if isSlice ? operand != stack(of: input) : operand != input {
        throw ApusError(
          .shapeMismatch, "scan: operand \(index) is \(operand)",
          expected: isSlice ? "\(stack(of: input)), \(length) times \(input)" : "\(input)")
      }
    }
    for index in 0..<carries where outputs[index] != inputs[index] {
      throw ApusError(
        .shapeMismatch, "scan: carry \(index) is \(inputs[index]) and becomes \(outputs[index])",
        expected: "the same type after each turn")
    }
    return Array(outputs.prefix(carries)) + outputs.dropFirst(carries).map(stack)
  }

  private func stack(of type: TensorType) -> TensorType {
    type.with(Shape([length] + type.shape.dimensions))
  }

  /// The numbers of the steps in the order in which they run.
  package var turns: [Int] { isReversed ? (0..<length).reversed() : Array(0..<length) }

  // MARK: Running

  /// The body, interpreted turn by turn.
  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let declared = body.outputs.map { body.type(of: $0.operand).dtype }
    let isWidened = zip(results, declared).contains { $0.dtype != $1 }
    var carry = Array(operands.prefix(carries))
    let constants = Array(operands.dropFirst(carries + slices))
    var stacked = [[NDArray?]](
      repeating: Array(repeating: nil, count: length), count: results.count - carries)
    for turn in turns {
      let slice = operands.dropFirst(carries).prefix(slices).map { sequence -> NDArray in
        let type = Self.element(of: sequence.type)
        return sequence.viewed(
          through: View(
            shape: type.shape, strides: type.shape.strides, offset: turn * type.count))
      }
      let outputs = try body.interpret(inputs: carry + slice + constants, widened: isWidened)
        .outputs
      carry = Array(outputs.prefix(carries))
      for (index, output) in outputs.dropFirst(carries).enumerated() {
        stacked[index][turn] = output
      }
    }
    let stacks = zip(stacked, results.dropFirst(carries)).map { parts, type in
      NDArray(type) { bytes in
        let size = Self.element(of: type).byteCount
        for (turn, part) in parts.enumerated() {
          part?.withUnsafeBytes {
            UnsafeMutableRawBufferPointer(rebasing: bytes[turn * size..<(turn + 1) * size])
              .copyMemory(from: $0)
          }
        }
      }
    }
    return zip(carry, results).map { $0.cast(to: $1.dtype) } + stacks
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  /// A loop is no single kernel: who plans a graph plans its body.
  ///
  /// - Throws: `unsupported`.
  package func lower(_ site: LoweringSite) throws -> KernelCall {
    throw ApusError(
      .unsupported, "scan is lowered by itself", expected: "a plan of the graph that it stands in")
  }
}

extension Node {
  /// Its op, where that holds graphs. A cast to the one type that does takes a tenth of one to the protocol, and
  /// passes ask every node.
  package var regionOp: (any RegionOp)? { op as? Scan }
}
