// The decimal logarithm.

import ApusGraph
import Glibc

/// `y = log₁₀ x`.
package struct Log10: PlainElementwiseOp {
  package static let mnemonic = "log10"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / (x ln 10)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / (context.operands[0] * M_LN10)]
  }

  package func evaluate(_ x: [Double]) -> Double { log10(x[0]) }
}

/// The decimal logarithm of every element.
public func log10(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Log10(), to: x, location: sourceLocation(file, line))
}
