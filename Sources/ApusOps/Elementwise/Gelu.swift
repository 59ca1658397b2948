// The Gaussian error linear unit.

import ApusGraph
import Glibc

/// `y = x Φ(x) = x/2 (1 + erf(x/√2))` (Hendrycks & Gimpel 2016, "Gaussian Error Linear Units"); -0,
/// the limit, at -∞.
package struct Gelu: PlainElementwiseOp {
  package static let mnemonic = "gelu"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = Φ(x) + x φ(x), an op of its own
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * geluDerivative(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double {
    x[0] == -.infinity ? -0.0 : 0.5 * x[0] * erfc(-x[0] * 0.5.squareRoot())
  }
}

/// The Gaussian error linear unit, with the error function itself.
public func gelu(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Gelu(), to: x, location: sourceLocation(file, line))
}
