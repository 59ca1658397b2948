// The square root.

import ApusGraph

/// `y = √x`; NaN below 0.
package struct Sqrt: PlainElementwiseOp {
  package static let mnemonic = "sqrt"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / (2y): the result is kept rather than the operand.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / (context.result * 2)]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0].squareRoot() }
}

/// The square root of every element.
public func sqrt(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sqrt(), to: x, location: sourceLocation(file, line))
}
