// The rectifier bounded by 6.

import ApusGraph

/// `y = min(max(x, 0), 6)` (Howard et al. 2017, "MobileNets").
package struct Relu6: PlainElementwiseOp {
  package static let mnemonic = "relu6"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = [0 < x < 6]
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    return [`where`(logicalAnd(greater(x, 0), less(x, 6)), context.gradient, 0)]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] < 0 ? 0 : x[0] > 6 ? 6 : x[0] }
}

/// Every element held between 0 and 6.
public func relu6(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Relu6(), to: x, location: sourceLocation(file, line))
}
