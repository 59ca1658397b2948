// The natural logarithm.

import ApusGraph
import Glibc

/// `y = ln x`; NaN for a negative `x`, -∞ for 0.
package struct Log: PlainElementwiseOp {
  package static let mnemonic = "log"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1/x
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / context.operands[0]]
  }

  package func evaluate(_ x: [Double]) -> Double { log(x[0]) }
}

/// The natural logarithm of every element.
public func log(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Log(), to: x, location: sourceLocation(file, line))
}
