// The inverse hyperbolic sine.

import ApusGraph
import Glibc

/// `y = arsinh x = ln(x + √(x² + 1))`.
package struct Asinh: PlainElementwiseOp {
  package static let mnemonic = "asinh"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / √(x² + 1)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * rsqrt(square(context.operands[0]) + 1)]
  }

  package func evaluate(_ x: [Double]) -> Double { asinh(x[0]) }
}

/// The inverse hyperbolic sine of every element.
public func asinh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Asinh(), to: x, location: sourceLocation(file, line))
}
