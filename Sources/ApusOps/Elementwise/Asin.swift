// The inverse sine.

import ApusGraph
import Glibc

/// `y = arcsin x`; NaN outside [-1, 1].
package struct Asin: PlainElementwiseOp {
  package static let mnemonic = "asin"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / √(1 - x²)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * rsqrt(1 - square(context.operands[0]))]
  }

  package func evaluate(_ x: [Double]) -> Double { asin(x[0]) }
}

/// The inverse sine of every element, in [-π/2, π/2].
public func asin(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Asin(), to: x, location: sourceLocation(file, line))
}
