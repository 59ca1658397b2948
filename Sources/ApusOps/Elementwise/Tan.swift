// The tangent.

import ApusGraph
import Glibc

/// `y = tan x`, in radians.
package struct Tan: PlainElementwiseOp {
  package static let mnemonic = "tan"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 + y²
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (square(context.result) + 1)]
  }

  package func evaluate(_ x: [Double]) -> Double { tan(x[0]) }
}

/// The tangent of every element, in radians.
public func tan(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Tan(), to: x, location: sourceLocation(file, line))
}
