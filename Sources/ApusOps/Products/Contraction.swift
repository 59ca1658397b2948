// A contraction with an elementwise program on its result.

import ApusGraph

/// An op whose kernel sums products of two operands' elements and can do elementwise work on each sum
/// before it reaches memory: matrix products and convolutions.
package protocol Contraction: NarrowableOp {
  /// The element type that sums are rounded to, where the factors' types do not say it.
  var result: DType? { get }
  /// The same op with a result of that type.
  func giving(_ result: DType?) -> Self
  /// Whether the kernel runs any program on its result: it makes the result's rows in their order.
  var takesProgram: Bool { get }
  /// Whether a program on the result, of that shape, can read an array of the result's shape through the
  /// view.
  func canFollow(_ view: View, result: Shape) -> Bool
  /// The kernel with the program on its result. Operands of the site are the two factors and what else the
  /// program reads, results its outputs.
  func lower(_ site: LoweringSite, program: LoopProgram) throws -> KernelCall
}

extension Contraction {
  /// The op with the program on its result.
  package func fused(_ program: LoopProgram) -> any Op { Fused(self, program: program) }
}

/// `program(producer(A, B), …)`: a contraction whose result goes through an elementwise program (bias,
/// activation, residual, scaling, cast) before it reaches memory.
///
/// Operands are the two factors and what else the program reads; in the program, `a0` is the contraction
/// and `a1` the first further operand. Every output has the contraction's shape. `FuseEpilogues` makes
/// these nodes.
package struct Fused<Producer: Contraction>: Op {
  package static var mnemonic: String { "fused_\(Producer.mnemonic)" }
  package let producer: Producer
  package let program: LoopProgram

  package init(_ producer: Producer, program: LoopProgram) {
    self.producer = producer
    self.program = program
  }

  package init(attributes: AttributeReader) throws {
    let lines = try attributes.list("program").map { value -> String in
      guard case .string(let line) = value else {
        throw ApusError(
          .parse, "\(Self.mnemonic): the program is no list of strings", expected: "strings")
      }
      return line
    }
    self.init(
      try Producer(attributes: attributes),
      program: try LoopProgram(lines: lines, outputs: try attributes.ints("outputs")))
  }

  package var attributes: [Attribute] {
    producer.attributes + [
      Attribute("program", .list(program.lines.map { .string($0) })),
      Attribute("outputs", .ints(program.outputs)),
    ]
  }

  /// The types that the program reads: the contraction's result and the further operands.
  func programOperands(_ operands: [TensorType]) throws -> [TensorType] {
    try producer.resultTypes(Array(operands.prefix(2))) + operands.dropFirst(2)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard operands.count >= 2 else {
      throw ApusError(
        .invalidGraph, "\(Self.mnemonic) has \(operands.count) operands", expected: "at least 2")
    }
    let read = try programOperands(operands)
    let domain = read[0].shape
    for operand in read where try Shape.broadcast(operand.shape, domain) != domain {
      throw ApusError(
        .shapeMismatch, "\(Self.mnemonic): \(operand) does not broadcast to the result \(read[0])",
        expected: "extents that are equal or 1")
    }
    guard !program.reduces else {
      throw ApusError(
        .invalidGraph, "\(Self.mnemonic): its program reduces", expected: "elementwise instructions"
      )
    }
    guard !program.outputs.isEmpty else {
      throw ApusError(
        .invalidGraph, "\(Self.mnemonic): no outputs", expected: "a value that somebody reads")
    }
    let types = try program.types(read, domain: domain, reducedAxes: [])
    return try program.outputs.map { output in
      guard types.indices.contains(output), types[output].shape == domain else {
        throw ApusError(
          .invalidGraph, "\(Self.mnemonic): v\(output) is no value of the result's shape",
          expected: "\(domain)")
      }
      return types[output]
    }
  }

  /// Made after differentiation.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    throw ApusError(
      .unsupported, "\(Self.mnemonic) is not differentiable",
      expected: "differentiation before optimisation")
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let factors = Array(operands.prefix(2))
    var type = try producer.resultTypes(factors.map(\.type))
    // In double nothing is rounded in between, whatever type the product is told to give.
    if (operands.map(\.dtype) + results.map(\.dtype)).contains(.f64) {
      type = type.map { $0.with($0.dtype.widened) }
    }
    let value = try producer.reference(factors, results: type)
    let loop = Loop(domain: type[0].shape, reducedAxes: [], program: program)
    return try loop.reference(value + operands.dropFirst(2), results: results)
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    let factors = Array(operands.prefix(2))
    if index < 2 { return producer.accepts(view, at: index, of: factors) }
    guard let type = try? producer.resultTypes(factors)[0] else { return false }
    return producer.canFollow(view, result: type.shape)
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try producer.lower(site, program: program)
  }
}
