// The inverse tangent.

import ApusGraph
import Glibc

/// `y = arctan x`.
package struct Atan: PlainElementwiseOp {
  package static let mnemonic = "atan"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / (1 + x²)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / (square(context.operands[0]) + 1)]
  }

  package func evaluate(_ x: [Double]) -> Double { atan(x[0]) }
}

/// The inverse tangent of every element, in [-π/2, π/2].
public func atan(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Atan(), to: x, location: sourceLocation(file, line))
}
