// The logistic function.

import ApusGraph
import Glibc

/// `y = 1 / (1 + e⁻ˣ)`.
package struct Sigmoid: PlainElementwiseOp {
  package static let mnemonic = "sigmoid"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = y (1 - y): the result is kept rather than the operand.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (context.result * (1 - context.result))]
  }

  package func evaluate(_ x: [Double]) -> Double {
    x[0] >= 0 ? 1 / (1 + exp(-x[0])) : exp(x[0]) / (1 + exp(x[0]))
  }
}

/// The logistic function of every element.
public func sigmoid(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sigmoid(), to: x, location: sourceLocation(file, line))
}
