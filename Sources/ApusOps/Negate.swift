// The sign changed.

import ApusGraph

/// `y = -x`.
public struct Negate: PlainElementwiseOp {
  public static let mnemonic = "neg"
  public static let arity = 1
  public static let signature = ElementwiseSignature.numeric

  public init() {}

  // dy/dx = -1
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-context.gradient]
  }

  public func evaluate(_ x: [Double]) -> Double { -x[0] }
}

extension Tensor {
  /// Every element with its sign changed.
  public static prefix func - (x: Tensor) -> Tensor { .apply(Negate(), to: x) }
}
