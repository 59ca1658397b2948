// The derivative of the Gaussian error linear unit.

import ApusGraph
import Glibc

/// `y = Φ(x) + x φ(x)`, the derivative of `x Φ(x)`; -0, the limit, at -∞.
///
/// One operation rather than Φ and φ apart: both stand on the same exponential, and the sum keeps its
/// digits where x is far below 0.
package struct GeluDerivative: PlainElementwiseOp {
  package static let mnemonic = "gelu_derivative"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = (2 - x²) φ(x), with φ(x) = exp(-x²/2) / √(2π)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let squared = square(context.operands[0])
    let density = exp(squared * -0.5) * (1 / (2 * Double.pi).squareRoot())
    return [context.gradient * (density * (2 - squared))]
  }

  package func evaluate(_ x: [Double]) -> Double {
    let x = x[0]
    let density = exp(-0.5 * x * x) / (2 * Double.pi).squareRoot()
    if density == 0 { return x > 0 ? 1 : -0.0 }
    return 0.5 * erfc(-x * 0.5.squareRoot()) + x * density
  }
}

/// The derivative of `gelu` at every element.
package func geluDerivative(
  _ x: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(GeluDerivative(), to: x, location: sourceLocation(file, line))
}
