// The inverse cosine.

import ApusGraph
import Glibc

/// `y = arccos x`; NaN outside [-1, 1].
package struct Acos: PlainElementwiseOp {
  package static let mnemonic = "acos"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = -1 / √(1 - x²)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-(context.gradient * rsqrt(1 - square(context.operands[0])))]
  }

  package func evaluate(_ x: [Double]) -> Double { acos(x[0]) }
}

/// The inverse cosine of every element, in [0, π].
public func acos(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Acos(), to: x, location: sourceLocation(file, line))
}
