// A sigmoid with polynomial tails.

import ApusGraph

/// `y = x / (1 + |x|)`.
package struct Softsign: PlainElementwiseOp {
  package static let mnemonic = "softsign"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 1 / (1 + |x|)²
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient / square(abs(context.operands[0]) + 1)]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] / (1 + Swift.abs(x[0])) }
}

/// The softsign of every element.
public func softsign(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Softsign(), to: x, location: sourceLocation(file, line))
}
