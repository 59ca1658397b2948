// Rounding down.

import ApusGraph

/// `y = ⌊x⌋`.
package struct Floor: PlainElementwiseOp {
  package static let mnemonic = "floor"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // Constant wherever there is a derivative.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0].rounded(.down) }
}

/// The greatest whole number not above every element.
public func floor(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Floor(), to: x, location: sourceLocation(file, line))
}
