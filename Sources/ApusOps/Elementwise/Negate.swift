// The sign changed.

import ApusGraph

/// `y = -x`.
package struct Negate: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "neg"
  package static let arity = 1
  package static let signature = ElementwiseSignature.numeric
  package static let leavesBytes = true

  package init() {}

  // dy/dx = -1
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [-context.gradient]
  }

  package func evaluate(_ x: [Double]) -> Double { -x[0] }
  package func evaluate(_ x: [Int64]) -> Int64 { 0 &- x[0] }
}

extension Tensor {
  /// Every element with its sign changed.
  public static prefix func - (x: Tensor) -> Tensor { .apply(Negate(), to: x) }
}
