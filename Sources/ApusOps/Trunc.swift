// Rounding towards zero.

import ApusGraph

/// `y` is `x` without its fraction.
public struct Trunc: PlainElementwiseOp {
  public static let mnemonic = "trunc"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // Constant wherever there is a derivative.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0].rounded(.towardZero) }
}

/// Every element rounded towards zero.
public func trunc(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Trunc(), to: x, location: sourceLocation(file, line))
}
