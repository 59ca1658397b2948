// One over a number.

import ApusGraph

/// `y = 1/x`.
public struct Reciprocal: PlainElementwiseOp {
  public static let mnemonic = "reciprocal"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = -1/x² = -y²
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-(context.gradient * square(context.result))]
  }

  public func evaluate(_ x: [Double]) -> Double { 1 / x[0] }
}

/// One over every element.
public func reciprocal(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Reciprocal(), to: x, location: sourceLocation(file, line))
}
