// The sigmoid linear unit, or swish.

import ApusGraph

/// `y = x · sigmoid(x)` (Elfwing et al. 2017; Ramachandran et al. 2017, "Searching for Activation Functions").
package struct Silu: PlainElementwiseOp {
  package static let mnemonic = "silu"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = s + x s (1 - s) with s = sigmoid x, an op of its own
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * siluDerivative(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] * Sigmoid().evaluate(x) }
}

/// The sigmoid linear unit (swish) of every element.
public func silu(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Silu(), to: x, location: sourceLocation(file, line))
}
