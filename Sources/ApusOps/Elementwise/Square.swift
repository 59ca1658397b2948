// The square.

import ApusGraph

/// `y = x²`.
package struct Square: PlainElementwiseOp {
  package static let mnemonic = "square"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 2x
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (context.operands[0] * 2)]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] * x[0] }
}

/// The square of every element.
public func square(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Square(), to: x, location: sourceLocation(file, line))
}
