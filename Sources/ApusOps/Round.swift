// Rounding to the nearest whole number.

import ApusGraph

/// `y` is the whole number nearest to `x`; of two, the even one.
public struct Round: PlainElementwiseOp {
  public static let mnemonic = "round"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // Constant wherever there is a derivative.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0].rounded(.toNearestOrEven) }
}

/// Every element rounded to the nearest whole number, halves to even, as in NumPy and PyTorch.
public func round(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Round(), to: x, location: sourceLocation(file, line))
}
