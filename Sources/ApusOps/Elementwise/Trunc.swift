// Rounding towards zero.

import ApusGraph

/// `y` is `x` without its fraction.
package struct Trunc: PlainElementwiseOp {
  package static let mnemonic = "trunc"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // Constant wherever there is a derivative.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0].rounded(.towardZero) }
}

/// Every element rounded towards zero.
public func trunc(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Trunc(), to: x, location: sourceLocation(file, line))
}
