// What passes where another tensor is positive: the rectifier's gradient.

import ApusGraph

/// `y = b` where `a > 0`, 0 elsewhere.
public struct Gate: PlainElementwiseOp {
  public static let mnemonic = "gate"
  public static let arity = 2
  public static let signature = ElementwiseSignature.float

  public init() {}

  // The gate itself is constant wherever it has a derivative.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [nil, context.isNeeded[1] ? gate(context.operands[0], context.gradient) : nil]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] > 0 ? x[1] : 0 }
}

/// `b` where `a > 0`, 0 elsewhere.
public func gate(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b, file, line)
  return .apply(Gate(), to: a, b, location: sourceLocation(file, line))
}
