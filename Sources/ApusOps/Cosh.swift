// The hyperbolic cosine.

import ApusGraph
import Glibc

/// `y = cosh x = (eˣ + e⁻ˣ) / 2`.
public struct Cosh: PlainElementwiseOp {
  public static let mnemonic = "cosh"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = sinh x
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * sinh(context.operands[0])]
  }

  public func evaluate(_ x: [Double]) -> Double { cosh(x[0]) }
}

/// The hyperbolic cosine of every element.
public func cosh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Cosh(), to: x, location: sourceLocation(file, line))
}
