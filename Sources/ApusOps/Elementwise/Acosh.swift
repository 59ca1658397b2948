// The inverse hyperbolic cosine.

import ApusGraph
import Glibc

/// `y = arcosh x = ln(x + √(x² - 1))`; NaN below 1.
package struct Acosh: PlainElementwiseOp {
  package static let mnemonic = "acosh"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / √(x² - 1)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * rsqrt(square(context.operands[0]) - 1)]
  }

  package func evaluate(_ x: [Double]) -> Double { acosh(x[0]) }
}

/// The inverse hyperbolic cosine of every element.
public func acosh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Acosh(), to: x, location: sourceLocation(file, line))
}
