// One over the square root.

import ApusGraph

/// `y = 1/√x`, correctly rounded or one unit off, not the processor's estimate.
public struct Rsqrt: PlainElementwiseOp {
  public static let mnemonic = "rsqrt"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = -y³/2
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * ((context.result * square(context.result)) * -0.5)]
  }

  public func evaluate(_ x: [Double]) -> Double { 1 / x[0].squareRoot() }
}

/// One over the square root of every element.
public func rsqrt(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Rsqrt(), to: x, location: sourceLocation(file, line))
}
