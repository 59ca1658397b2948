// Two to the power.

import ApusGraph
import Glibc

/// `y = 2ˣ`.
package struct Exp2: PlainElementwiseOp {
  package static let mnemonic = "exp2"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = y ln 2
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (context.result * M_LN2)]
  }

  package func evaluate(_ x: [Double]) -> Double { exp2(x[0]) }
}

/// Two to the power of every element.
public func exp2(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Exp2(), to: x, location: sourceLocation(file, line))
}
