// The hyperbolic tangent.

import ApusGraph
import Glibc

/// `y = tanh x`.
package struct Tanh: PlainElementwiseOp {
  package static let mnemonic = "tanh"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 - y²: the result is kept rather than the operand.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (1 - square(context.result))]
  }

  package func evaluate(_ x: [Double]) -> Double { tanh(x[0]) }
}

/// The hyperbolic tangent of every element.
public func tanh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Tanh(), to: x, location: sourceLocation(file, line))
}
