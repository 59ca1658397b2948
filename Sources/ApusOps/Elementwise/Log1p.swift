// The logarithm of one plus a number.

import ApusGraph
import Glibc

/// `y = ln(1 + x)`, exact for small `x`, where `1 + x` rounds to 1.
package struct Log1p: PlainElementwiseOp {
  package static let mnemonic = "log1p"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / (1 + x)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / (context.operands[0] + 1)]
  }

  package func evaluate(_ x: [Double]) -> Double { log1p(x[0]) }
}

/// The natural logarithm of one plus every element, without loss of digits near 0.
public func log1p(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Log1p(), to: x, location: sourceLocation(file, line))
}
