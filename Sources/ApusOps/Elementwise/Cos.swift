// The cosine.

import ApusGraph
import Glibc

/// `y = cos x`, in radians.
package struct Cos: PlainElementwiseOp {
  package static let mnemonic = "cos"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = -sin x
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-(context.gradient * sin(context.operands[0]))]
  }

  package func evaluate(_ x: [Double]) -> Double { cos(x[0]) }
}

/// The cosine of every element, in radians.
public func cos(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Cos(), to: x, location: sourceLocation(file, line))
}
