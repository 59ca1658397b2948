// Sum of two tensors.

import ApusGraph

/// `y = a + b`, broadcasting.
package struct Add: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "add"
  package static let arity = 2
  package static let signature = ElementwiseSignature.numeric
  package static let leavesBytes = true

  package init() {}

  // dy/da = dy/db = 1; where an operand was broadcast, the reverse walk sums its gradient.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient, context.gradient]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] + x[1] }
  package func evaluate(_ x: [Int64]) -> Int64 { x[0] &+ x[1] }
}

extension Tensor {
  /// Elementwise sum with NumPy broadcasting.
  public static func + (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Add(), to: a, b)
  }
  public static func + (a: Tensor, b: Double) -> Tensor { a + a.operand(b) }
  public static func + (a: Double, b: Tensor) -> Tensor { b.operand(a) + b }
}
