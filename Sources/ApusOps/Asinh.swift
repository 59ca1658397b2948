// The inverse hyperbolic sine.

import ApusGraph
import Glibc

/// `y = arsinh x = ln(x + √(x² + 1))`.
public struct Asinh: PlainElementwiseOp {
  public static let mnemonic = "asinh"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 1 / √(x² + 1)
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * rsqrt(square(context.operands[0]) + 1)]
  }

  public func evaluate(_ x: [Double]) -> Double { asinh(x[0]) }
}

/// The inverse hyperbolic sine of every element.
public func asinh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Asinh(), to: x, location: sourceLocation(file, line))
}
