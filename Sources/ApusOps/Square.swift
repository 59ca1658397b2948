// The square.

import ApusGraph

/// `y = x²`.
public struct Square: PlainElementwiseOp {
  public static let mnemonic = "square"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 2x
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (context.operands[0] * 2)]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] * x[0] }
}

/// The square of every element.
public func square(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Square(), to: x, location: sourceLocation(file, line))
}
