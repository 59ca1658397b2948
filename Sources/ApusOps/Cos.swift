// The cosine.

import ApusGraph
import Glibc

/// `y = cos x`, in radians.
public struct Cos: PlainElementwiseOp {
  public static let mnemonic = "cos"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = -sin x
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-(context.gradient * sin(context.operands[0]))]
  }

  public func evaluate(_ x: [Double]) -> Double { cos(x[0]) }
}

/// The cosine of every element, in radians.
public func cos(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Cos(), to: x, location: sourceLocation(file, line))
}
