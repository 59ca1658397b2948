// Product of two tensors, element by element.

import ApusGraph

/// `y = a · b`, broadcasting.
package struct Multiply: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "mul"
  package static let arity = 2
  package static let signature = ElementwiseSignature.numeric
  package static let leavesBytes = true

  package init() {}

  // dy/da = b, dy/db = a
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let g = context.gradient
    return [
      context.isNeeded[0] ? g * context.operands[1] : nil,
      context.isNeeded[1] ? g * context.operands[0] : nil,
    ]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] * x[1] }
  package func evaluate(_ x: [Int64]) -> Int64 { x[0] &* x[1] }
}

extension Tensor {
  /// Elementwise product with NumPy broadcasting.
  public static func * (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Multiply(), to: a, b)
  }
  public static func * (a: Tensor, b: Double) -> Tensor { a * a.operand(b) }
  public static func * (a: Double, b: Tensor) -> Tensor { b.operand(a) * b }
}
