// The rectified linear unit, and the gate that is its gradient.

import ApusGraph

/// `y = max(x, 0)`; NaN stays NaN.
public struct ReLU: PlainElementwiseOp {
  public static let mnemonic = "relu"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = 1 where x > 0, and 0 at 0, as in PyTorch
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [.apply(Gate(), to: context.operands[0], context.gradient)]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0].isNaN ? x[0] : max(x[0], 0) }
}

/// `y = b` where `a > 0`, else 0: what flows back through a ReLU.
public struct Gate: PlainElementwiseOp {
  public static let mnemonic = "gate"
  public static let arity = 2
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/db is the gate itself; dy/da is 0 wherever it exists.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil, .apply(Gate(), to: context.operands[0], context.gradient)]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] > 0 ? x[1] : 0 }
}

/// The rectified linear unit: negative elements become 0 (Nair & Hinton 2010).
///
///     relu(x)   // [-1, 2] → [0, 2]
public func relu(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(ReLU(), to: x, location: sourceLocation(file, line))
}
