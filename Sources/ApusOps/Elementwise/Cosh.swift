// The hyperbolic cosine.

import ApusGraph
import Glibc

/// `y = cosh x = (eˣ + e⁻ˣ) / 2`.
package struct Cosh: PlainElementwiseOp {
  package static let mnemonic = "cosh"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = sinh x
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * sinh(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double { cosh(x[0]) }
}

/// The hyperbolic cosine of every element.
public func cosh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Cosh(), to: x, location: sourceLocation(file, line))
}
