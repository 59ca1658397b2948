// The sine.

import ApusGraph
import Glibc

/// `y = sin x`, in radians.
package struct Sin: PlainElementwiseOp {
  package static let mnemonic = "sin"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = cos x
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * cos(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double { sin(x[0]) }
}

/// The sine of every element, in radians.
public func sin(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sin(), to: x, location: sourceLocation(file, line))
}
