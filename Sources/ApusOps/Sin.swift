// The sine.

import ApusGraph
import Glibc

/// `y = sin x`, in radians.
public struct Sin: PlainElementwiseOp {
  public static let mnemonic = "sin"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = cos x
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * cos(context.operands[0])]
  }

  public func evaluate(_ x: [Double]) -> Double { sin(x[0]) }
}

/// The sine of every element, in radians.
public func sin(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sin(), to: x, location: sourceLocation(file, line))
}
