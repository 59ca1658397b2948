// The derivative of the approximated Gaussian error linear unit.

import ApusGraph
import Glibc

/// `y = s + x s (1 - s) z'`, the derivative of `x s` with `s` the sigmoid of
/// `z = 2 √(2/π) (x + 0.044715 x³)`; -0, the limit, at -∞.
///
/// One operation: the sigmoid is taken once, and the whole costs little more than `gelu_tanh` does.
package struct GeluTanhDerivative: PlainElementwiseOp {
  package static let mnemonic = "gelu_tanh_derivative"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  private static let scale = 2 * (2 / Double.pi).squareRoot()
  private static let cubic = 0.044715

  package init() {}

  // dy/dx = s (1 - s) (2 z' + x z'' + x z'² (1 - 2 s))
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    let squared = square(x)
    let s = sigmoid(x * (squared * (Self.cubic * Self.scale) + Self.scale))
    let slope = squared * (3 * Self.cubic * Self.scale) + Self.scale
    let curve = squared * (6 * Self.cubic * Self.scale)  // x z''
    let inner = slope * 2 + curve + x * square(slope) * (1 - s * 2)
    return [context.gradient * (s * (1 - s) * inner)]
  }

  package func evaluate(_ x: [Double]) -> Double {
    let x = x[0]
    let e = exp(-abs(Self.scale * (x + Self.cubic * x * x * x)))
    if e == 0 { return x > 0 ? 1 : -0.0 }
    let q = 1 / (1 + e)
    let slope = Self.scale * (1 + 3 * Self.cubic * x * x)
    return x < 0 ? e * q * (1 + x * slope * q) : q * (1 + x * slope * e * q)
  }
}

/// The derivative of `geluTanh` at every element.
package func geluTanhDerivative(
  _ x: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(GeluTanhDerivative(), to: x, location: sourceLocation(file, line))
}
