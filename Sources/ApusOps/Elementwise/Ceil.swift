// Rounding up.

import ApusGraph

/// `y = ⌈x⌉`.
package struct Ceil: PlainElementwiseOp {
  package static let mnemonic = "ceil"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // Constant wherever there is a derivative.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0].rounded(.up) }
}

/// The least whole number not below every element.
public func ceil(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Ceil(), to: x, location: sourceLocation(file, line))
}
