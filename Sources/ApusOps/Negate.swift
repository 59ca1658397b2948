// The negative of a tensor.

import ApusGraph

/// `y = -x`.
public struct Negate: PlainElementwiseOp {
  public static let mnemonic = "neg"
  public static let arity = 1
  public static let signature = ElementwiseSignature.numeric

  public init() {}

  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-context.gradient]
  }

  public func evaluate(_ x: [Double]) -> Double { -x[0] }
}

extension Tensor {
  /// The negative of every element.
  public static prefix func - (x: Tensor) -> Tensor { .apply(Negate(), to: x) }
}
