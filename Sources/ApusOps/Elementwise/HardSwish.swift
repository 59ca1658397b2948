// A piecewise quadratic swish.

import ApusGraph

/// `y = x · hardSigmoid(x)` (Howard et al. 2019, "Searching for MobileNetV3").
package struct HardSwish: PlainElementwiseOp {
  package static let mnemonic = "hard_swish"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 0 below -3, 1 above 3, (2x + 3) / 6 between
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (x, g) = (context.operands[0], context.gradient)
    let inner = g * (x * (1.0 / 3) + 0.5)
    return [`where`(less(x, -3), g.scalar(0), `where`(greater(x, 3), g, inner))]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] * (min(max(x[0] + 3, 0), 6) / 6) }
}

/// The hard swish of every element.
public func hardSwish(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(HardSwish(), to: x, location: sourceLocation(file, line))
}
