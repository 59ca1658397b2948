// Difference of two tensors.

import ApusGraph

/// `y = a - b`, broadcasting.
package struct Subtract: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "sub"
  package static let arity = 2
  package static let signature = ElementwiseSignature.numeric
  package static let leavesBytes = true

  package init() {}

  // dy/da = 1, dy/db = -1
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient, context.isNeeded[1] ? -context.gradient : nil]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] - x[1] }
  package func evaluate(_ x: [Int64]) -> Int64 { x[0] &- x[1] }
}

extension Tensor {
  /// Elementwise difference with NumPy broadcasting.
  public static func - (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Subtract(), to: a, b)
  }
  public static func - (a: Tensor, b: Double) -> Tensor { a - a.operand(b) }
  public static func - (a: Double, b: Tensor) -> Tensor { b.operand(a) - b }
}
