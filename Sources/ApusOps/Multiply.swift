// Product of two tensors, element by element.

import ApusGraph

/// `y = a · b`, broadcasting.
public struct Multiply: PlainElementwiseOp {
  public static let mnemonic = "mul"
  public static let arity = 2
  public static let signature = ElementwiseSignature.numeric

  public init() {}

  // dy/da = b, dy/db = a
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let g = context.gradient
    return [
      context.isNeeded[0] ? g * context.operands[1] : nil,
      context.isNeeded[1] ? g * context.operands[0] : nil,
    ]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] * x[1] }
}

extension Tensor {
  /// Elementwise product with NumPy broadcasting.
  public static func * (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Multiply(), to: a, b)
  }
  public static func * (a: Tensor, b: Double) -> Tensor { a * a.scalar(b) }
  public static func * (a: Double, b: Tensor) -> Tensor { b.scalar(a) * b }
}
