// What passes where another tensor is positive: the rectifier's gradient.

import ApusGraph

/// `y = b` where `a > 0`, 0 elsewhere.
package struct Gate: PlainElementwiseOp {
  package static let mnemonic = "gate"
  package static let arity = 2
  package static let signature = ElementwiseSignature.float

  package init() {}

  // The gate itself is constant wherever it has a derivative.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil, context.isNeeded[1] ? gate(context.operands[0], context.gradient) : nil]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] > 0 ? x[1] : 0 }
}

/// `b` where `a > 0`, 0 elsewhere.
package func gate(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b, file, line)
  return .apply(Gate(), to: a, b, location: sourceLocation(file, line))
}
