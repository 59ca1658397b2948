// One over a number.

import ApusGraph

/// `y = 1/x`.
package struct Reciprocal: PlainElementwiseOp {
  package static let mnemonic = "reciprocal"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = -1/x² = -y²
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-(context.gradient * square(context.result))]
  }

  package func evaluate(_ x: [Double]) -> Double { 1 / x[0] }
}

/// One over every element.
public func reciprocal(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Reciprocal(), to: x, location: sourceLocation(file, line))
}
