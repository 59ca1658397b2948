// The hyperbolic sine.

import ApusGraph
import Glibc

/// `y = sinh x = (eˣ - e⁻ˣ) / 2`.
package struct Sinh: PlainElementwiseOp {
  package static let mnemonic = "sinh"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = cosh x
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * cosh(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double { sinh(x[0]) }
}

/// The hyperbolic sine of every element.
public func sinh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sinh(), to: x, location: sourceLocation(file, line))
}
