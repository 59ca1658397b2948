// The binary logarithm.

import ApusGraph
import Glibc

/// `y = log₂ x`.
package struct Log2: PlainElementwiseOp {
  package static let mnemonic = "log2"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / (x ln 2)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / (context.operands[0] * M_LN2)]
  }

  package func evaluate(_ x: [Double]) -> Double { log2(x[0]) }
}

/// The binary logarithm of every element.
public func log2(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Log2(), to: x, location: sourceLocation(file, line))
}
