// Sum of two tensors.

import ApusGraph

/// `y = a + b`, broadcasting.
public struct Add: PlainElementwiseOp {
  public static let mnemonic = "add"
  public static let arity = 2
  public static let signature = ElementwiseSignature.numeric

  public init() {}

  // dy/da = dy/db = 1; where an operand was broadcast, the reverse walk sums its gradient.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient, context.gradient]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] + x[1] }
}

extension Tensor {
  /// Elementwise sum with NumPy broadcasting.
  public static func + (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Add(), to: a, b)
  }
  public static func + (a: Tensor, b: Double) -> Tensor { a + a.scalar(b) }
  public static func + (a: Double, b: Tensor) -> Tensor { b.scalar(a) + b }
}
