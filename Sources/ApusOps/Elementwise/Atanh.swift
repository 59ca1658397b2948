// The inverse hyperbolic tangent.

import ApusGraph
import Glibc

/// `y = artanh x = ln((1 + x) / (1 - x)) / 2`; NaN outside [-1, 1].
package struct Atanh: PlainElementwiseOp {
  package static let mnemonic = "atanh"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / (1 - x²)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / (1 - square(context.operands[0]))]
  }

  package func evaluate(_ x: [Double]) -> Double { atanh(x[0]) }
}

/// The inverse hyperbolic tangent of every element.
public func atanh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Atanh(), to: x, location: sourceLocation(file, line))
}
