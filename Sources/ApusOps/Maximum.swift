// The greater of two tensors, element by element.

import ApusGraph

/// `y = max(a, b)`, broadcasting; NaN where either is NaN, as in NumPy.
public struct Maximum: PlainElementwiseOp {
  public static let mnemonic = "max"
  public static let arity = 2
  public static let signature = ElementwiseSignature.numeric

  public init() {}

  // The winner takes the gradient; a tie shares it evenly, as in PyTorch.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (a, b, g) = (context.operands[0], context.operands[1], context.gradient)
    let half = g * 0.5
    let zero = g.scalar(0)
    func share(_ wins: Tensor) -> Tensor { `where`(wins, g, `where`(equal(a, b), half, zero)) }
    return [
      context.isNeeded[0] ? share(greater(a, b)) : nil,
      context.isNeeded[1] ? share(less(a, b)) : nil,
    ]
  }

  public func evaluate(_ x: [Double]) -> Double {
    x[0].isNaN || x[1].isNaN ? .nan : max(x[0], x[1])
  }
}

/// The greater of two tensors, element by element.
///
///     maximum(a, b)   // f32[2,3], f32[3] → f32[2,3]
public func maximum(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b)
  return .apply(Maximum(), to: a, b, location: sourceLocation(file, line))
}
