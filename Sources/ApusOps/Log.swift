// The natural logarithm.

import ApusGraph
import Glibc

/// `y = ln x`; NaN for a negative `x`, -∞ for 0.
public struct Log: PlainElementwiseOp {
  public static let mnemonic = "log"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 1/x
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / context.operands[0]]
  }

  public func evaluate(_ x: [Double]) -> Double { log(x[0]) }
}

/// The natural logarithm of every element.
public func log(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Log(), to: x, location: sourceLocation(file, line))
}
