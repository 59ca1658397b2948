// Difference of two tensors.

import ApusGraph

/// `y = a - b`, broadcasting.
public struct Subtract: PlainElementwiseOp {
  public static let mnemonic = "sub"
  public static let arity = 2
  public static let signature = ElementwiseSignature.numeric

  public init() {}

  // dy/da = 1, dy/db = -1
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient, context.isNeeded[1] ? -context.gradient : nil]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] - x[1] }
}

extension Tensor {
  /// Elementwise difference with NumPy broadcasting.
  public static func - (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Subtract(), to: a, b)
  }
  public static func - (a: Tensor, b: Double) -> Tensor { a - a.scalar(b) }
  public static func - (a: Double, b: Tensor) -> Tensor { b.scalar(a) - b }
}
