// The matrix product with an elementwise program on its result.

import ApusGraph

/// `C = program(op(A) op(B), …)`: a matrix product whose result goes through an elementwise program
/// (bias, activation, residual, scaling, cast) before it reaches memory.
///
/// Operands are `A`, `B` and what else the program reads; in the program, `a0` is the product and `a1`
/// the first further operand. Every output has the product's shape. `FuseGemmEpilogue` makes these
/// nodes.
package struct FusedMatMul: Op {
  package static let mnemonic = "fused_matmul"
  package let product: MatMul
  package let program: LoopProgram

  package init(_ product: MatMul, program: LoopProgram) {
    self.product = product
    self.program = program
  }

  package init(attributes: AttributeReader) throws {
    let lines = try attributes.list("program").map { value -> String in
      guard case .string(let line) = value else {
        throw ApusError(
          .parse, "fused_matmul: the program is no list of strings", expected: "strings")
      }
      return line
    }
    self.init(
      try MatMul(attributes: attributes),
      program: try LoopProgram(lines: lines, outputs: try attributes.ints("outputs")))
  }

  package var attributes: [Attribute] {
    product.attributes + [
      Attribute("program", .list(program.lines.map { .string($0) })),
      Attribute("outputs", .ints(program.outputs)),
    ]
  }

  /// The types that the program reads: the product and the further operands.
  func programOperands(_ operands: [TensorType]) throws -> [TensorType] {
    try product.resultTypes(Array(operands.prefix(2))) + operands.dropFirst(2)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard operands.count >= 2 else {
      throw ApusError(
        .invalidGraph, "fused_matmul has \(operands.count) operands", expected: "at least 2")
    }
    let read = try programOperands(operands)
    let domain = read[0].shape
    for operand in read where try Shape.broadcast(operand.shape, domain) != domain {
      throw ApusError(
        .shapeMismatch, "fused_matmul: \(operand) does not broadcast to the product \(read[0])",
        expected: "extents that are equal or 1")
    }
    guard !program.reduces else {
      throw ApusError(
        .invalidGraph, "fused_matmul: its program reduces", expected: "elementwise instructions")
    }
    guard !program.outputs.isEmpty else {
      throw ApusError(
        .invalidGraph, "fused_matmul: no outputs", expected: "a value that somebody reads")
    }
    let types = try program.types(read, domain: domain, reducedAxes: [])
    return try program.outputs.map { output in
      guard types.indices.contains(output), types[output].shape == domain else {
        throw ApusError(
          .invalidGraph, "fused_matmul: v\(output) is no value of the product's shape",
          expected: "\(domain)")
      }
      return types[output]
    }
  }

  /// Made after differentiation.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    throw ApusError(
      .unsupported, "a fused matrix product is not differentiable",
      expected: "differentiation before optimisation")
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let factors = Array(operands.prefix(2))
    var type = try product.resultTypes(factors.map(\.type))
    // In double nothing is rounded in between, whatever type the product is told to give.
    if (operands.map(\.dtype) + results.map(\.dtype)).contains(.f64) {
      type = type.map { $0.with($0.dtype.widened) }
    }
    let value = try product.reference(factors, results: type)
    let loop = Loop(domain: type[0].shape, reducedAxes: [], program: program)
    return try loop.reference(value + operands.dropFirst(2), results: results)
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    if index < 2 { return GemmLowering.accepts(view) }
    guard let type = try? product.resultTypes(Array(operands.prefix(2)))[0] else { return false }
    return FusedMatMul.canFollow(view, product: type.shape)
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try GemmLowering.fused(self, site)
  }

  /// Whether a program can read an array along with a product of that shape: counting through the
  /// matrices, it must advance evenly.
  package static func canFollow(_ view: View, product: Shape) -> Bool {
    let whole = view.broadcast(to: product)
    let axes = (0..<product.leading.rank).filter { product[$0] != 1 }
    return zip(axes, axes.dropFirst()).allSatisfy { outer, inner in
      whole.strides[outer] == whole.strides[inner] * product[inner]
    }
  }
}
