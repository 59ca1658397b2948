// The absolute value.

import ApusGraph

/// `y = |x|`.
package struct Abs: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "abs"
  package static let arity = 1
  package static let signature = ElementwiseSignature.numeric

  package init() {}

  // dy/dx = sign x, and so 0 at 0.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * sign(context.operands[0])]
  }

  package func evaluate(_ x: [Double]) -> Double { Swift.abs(x[0]) }
  package func evaluate(_ x: [Int64]) -> Int64 { x[0] < 0 ? 0 &- x[0] : x[0] }
}

/// The absolute value of every element.
public func abs(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Abs(), to: x, location: sourceLocation(file, line))
}
