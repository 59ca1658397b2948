// A smooth maximum of a number and 0.

import ApusGraph
import Glibc

/// `y = ln(1 + eˣ)`.
public struct Softplus: PlainElementwiseOp {
  public static let mnemonic = "softplus"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = sigmoid x
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * sigmoid(context.operands[0])]
  }

  public func evaluate(_ x: [Double]) -> Double { max(x[0], 0) + log1p(exp(-Swift.abs(x[0]))) }
}

/// `ln(1 + eˣ)` of every element, without overflow.
public func softplus(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Softplus(), to: x, location: sourceLocation(file, line))
}
