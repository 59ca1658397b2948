// The rectifier.

import ApusGraph

/// `y = max(x, 0)`; NaN stays.
package struct Relu: PlainElementwiseOp {
  package static let mnemonic = "relu"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = [x > 0] = [y > 0]: the result is kept rather than the operand.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [gate(context.result, context.gradient)]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] < 0 ? 0 : x[0] }
}

/// The rectifier: negative elements become 0.
public func relu(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Relu(), to: x, location: sourceLocation(file, line))
}
