// The hyperbolic sine.

import ApusGraph
import Glibc

/// `y = sinh x = (eˣ - e⁻ˣ) / 2`.
public struct Sinh: PlainElementwiseOp {
  public static let mnemonic = "sinh"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = cosh x
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * cosh(context.operands[0])]
  }

  public func evaluate(_ x: [Double]) -> Double { sinh(x[0]) }
}

/// The hyperbolic sine of every element.
public func sinh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sinh(), to: x, location: sourceLocation(file, line))
}
