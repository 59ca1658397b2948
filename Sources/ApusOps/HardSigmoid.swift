// A piecewise linear logistic function.

import ApusGraph

/// `y = min(max(x + 3, 0), 6) / 6`, as in PyTorch.
public struct HardSigmoid: PlainElementwiseOp {
  public static let mnemonic = "hard_sigmoid"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = [-3 < x < 3] / 6
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    return [`where`(less(abs(x), 3), context.gradient * (1.0 / 6), 0)]
  }

  public func evaluate(_ x: [Double]) -> Double { min(max(x[0] + 3, 0), 6) / 6 }
}

/// The hard sigmoid of every element.
public func hardSigmoid(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(HardSigmoid(), to: x, location: sourceLocation(file, line))
}
