// The hyperbolic tangent.

import ApusGraph
import Glibc

/// `y = tanh x`.
public struct Tanh: PlainElementwiseOp {
  public static let mnemonic = "tanh"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 1 - y²: the result is kept rather than the operand.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (1 - square(context.result))]
  }

  public func evaluate(_ x: [Double]) -> Double { tanh(x[0]) }
}

/// The hyperbolic tangent of every element.
public func tanh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Tanh(), to: x, location: sourceLocation(file, line))
}
