// Rounding down.

import ApusGraph

/// `y = ⌊x⌋`.
public struct Floor: PlainElementwiseOp {
  public static let mnemonic = "floor"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // Constant wherever there is a derivative.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0].rounded(.down) }
}

/// The greatest whole number not above every element.
public func floor(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Floor(), to: x, location: sourceLocation(file, line))
}
