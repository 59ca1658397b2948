// Rounding to the nearest whole number.

import ApusGraph

/// `y` is the whole number nearest to `x`; of two, the even one.
package struct Round: PlainElementwiseOp {
  package static let mnemonic = "round"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // Constant wherever there is a derivative.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0].rounded(.toNearestOrEven) }
}

/// Every element rounded to the nearest whole number, halves to even, as in NumPy and PyTorch.
public func round(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Round(), to: x, location: sourceLocation(file, line))
}
