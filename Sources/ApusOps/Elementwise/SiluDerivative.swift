// The derivative of the sigmoid linear unit.

import ApusGraph
import Glibc

/// `y = s + x s (1 - s)` with `s = sigmoid x`, the derivative of `x · sigmoid(x)`; -0, the limit, at -∞.
///
/// One operation rather than a chain: s and 1 - s stand on the same exponential and quotient.
package struct SiluDerivative: PlainElementwiseOp {
  package static let mnemonic = "silu_derivative"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = s (1 - s) (2 + x (1 - 2 s))
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    let s = sigmoid(x)
    return [context.gradient * (s * (1 - s) * (2 + x * (1 - 2 * s)))]
  }

  package func evaluate(_ x: [Double]) -> Double {
    let x = x[0]
    let e = exp(-Swift.abs(x))
    if e == 0 { return x > 0 ? 1 : -0.0 }
    let q = 1 / (1 + e)
    return x < 0 ? e * q * (1 + x * q) : q * (1 + x * e * q)
  }
}

/// The derivative of `silu` at every element.
package func siluDerivative(
  _ x: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(SiluDerivative(), to: x, location: sourceLocation(file, line))
}
