// Rounding up.

import ApusGraph

/// `y = ⌈x⌉`.
public struct Ceil: PlainElementwiseOp {
  public static let mnemonic = "ceil"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // Constant wherever there is a derivative.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0].rounded(.up) }
}

/// The least whole number not below every element.
public func ceil(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Ceil(), to: x, location: sourceLocation(file, line))
}
