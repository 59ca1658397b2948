// The sign.

import ApusGraph

/// `y` is -1, 0 or 1 as `x` is negative, zero or positive; NaN stays.
package struct Sign: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "sign"
  package static let arity = 1
  package static let signature = ElementwiseSignature.numeric

  package init() {}

  // Constant wherever there is a derivative.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] > 0 ? 1 : x[0] < 0 ? -1 : x[0] }
  package func evaluate(_ x: [Int64]) -> Int64 { x[0].signum() }
}

/// The sign of every element: -1, 0 or 1.
public func sign(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Sign(), to: x, location: sourceLocation(file, line))
}
