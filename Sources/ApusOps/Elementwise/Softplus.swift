// A smooth maximum of a number and 0.

import ApusGraph
import Glibc

/// `y = ln(1 + eˣ)`.
package struct Softplus: PlainElementwiseOp {
  package static let mnemonic = "softplus"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = sigmoid x
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * sigmoid(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double { max(x[0], 0) + log1p(exp(-Swift.abs(x[0]))) }
}

/// `ln(1 + eˣ)` of every element, without overflow.
public func softplus(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Softplus(), to: x, location: sourceLocation(file, line))
}
