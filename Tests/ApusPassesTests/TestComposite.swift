// A composite op for tests: whether it has a kernel is an attribute.

import ApusGraph
import ApusOps

/// `y = x · eˣ`, nested `depth` deep, so that a decomposition can contain a composite.
struct TestComposite: CompositeOp {
  static let mnemonic = "test_composite"
  var hasKernel: Bool
  var depth: Int

  init(attributes: AttributeReader) throws {
    hasKernel = try attributes.bool("kernel")
    depth = try attributes.int("depth")
  }
  init(hasKernel: Bool, depth: Int) {
    self.hasKernel = hasKernel
    self.depth = depth
  }
  var attributes: [Attribute] {
    [Attribute("kernel", .bool(hasKernel)), Attribute("depth", .int(depth))]
  }

  func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    return operands
  }
  func gradient(_ context: GradientContext) throws -> [Tensor?] {
    throw ApusError(.unsupported, "test_composite has no gradient")
  }
  func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    var values = operands[0].doubles
    for _ in 0..<depth { values = values.map { $0 * Exp().evaluate([$0]) } }
    return [NDArray(doubles: values, type: results[0])]
  }
  func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  func lower(_ site: LoweringSite) throws -> KernelCall {
    throw ApusError(.unsupported, "test_composite has no kernel")
  }

  func hasKernel(_ operands: [TensorType]) -> Bool { hasKernel }

  func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let y = operands[0] * exp(operands[0])
    if depth == 1 { return [y] }
    return [Tensor.apply(TestComposite(hasKernel: hasKernel, depth: depth - 1), to: y)]
  }
}

extension OpRegistry {
  /// Every op of the library, and the one above.
  static let testing = OpRegistry(opSet + [TestComposite.self])
}
