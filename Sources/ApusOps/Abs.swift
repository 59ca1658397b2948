// The absolute value.

import ApusGraph

/// `y = |x|`.
public struct Abs: PlainElementwiseOp {
  public static let mnemonic = "abs"
  public static let arity = 1
  public static let signature = ElementwiseSignature.numeric

  public init() {}

  // dy/dx = sign x, and so 0 at 0.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * sign(context.operands[0])]
  }

  public func evaluate(_ x: [Double]) -> Double { Swift.abs(x[0]) }
}

/// The absolute value of every element.
public func abs(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Abs(), to: x, location: sourceLocation(file, line))
}
