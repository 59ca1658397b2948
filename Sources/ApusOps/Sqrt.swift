// The square root.

import ApusGraph

/// `y = √x`; NaN below 0.
public struct Sqrt: PlainElementwiseOp {
  public static let mnemonic = "sqrt"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 1 / (2y): the result is kept rather than the operand.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / (context.result * 2)]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0].squareRoot() }
}

/// The square root of every element.
public func sqrt(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sqrt(), to: x, location: sourceLocation(file, line))
}
