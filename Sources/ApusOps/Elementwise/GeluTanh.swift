// The Gaussian error linear unit, approximated.

import ApusGraph
import Glibc

/// `y = x/2 (1 + tanh u)` with `u = √(2/π) (x + 0.044715 x³)` (Hendrycks & Gimpel 2016).
package struct GeluTanh: PlainElementwiseOp {
  package static let mnemonic = "gelu_tanh"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * geluTanhDerivative(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double {
    let u = (2 / Double.pi).squareRoot() * (x[0] + 0.044715 * x[0] * x[0] * x[0])
    return 0.5 * x[0] * (1 + tanh(u))
  }
}

/// The Gaussian error linear unit in its tanh form, as in GPT-2 and BERT.
public func geluTanh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(GeluTanh(), to: x, location: sourceLocation(file, line))
}
