// A piecewise linear logistic function.

import ApusGraph

/// `y = min(max(x + 3, 0), 6) / 6`, as in PyTorch.
package struct HardSigmoid: PlainElementwiseOp {
  package static let mnemonic = "hard_sigmoid"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = [-3 < x < 3] / 6
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    return [`where`(less(abs(x), 3), context.gradient * (1.0 / 6), 0)]
  }

  package func evaluate(_ x: [Double]) -> Double { min(max(x[0] + 3, 0), 6) / 6 }
}

/// The hard sigmoid of every element.
public func hardSigmoid(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(HardSigmoid(), to: x, location: sourceLocation(file, line))
}
