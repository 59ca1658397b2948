// The tangent.

import ApusGraph
import Glibc

/// `y = tan x`, in radians.
public struct Tan: PlainElementwiseOp {
  public static let mnemonic = "tan"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 1 + y²
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (square(context.result) + 1)]
  }

  public func evaluate(_ x: [Double]) -> Double { tan(x[0]) }
}

/// The tangent of every element, in radians.
public func tan(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Tan(), to: x, location: sourceLocation(file, line))
}
