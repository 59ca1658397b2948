// The lesser of two tensors.

import ApusGraph

/// `y = min(a, b)`, broadcasting; NaN where either is NaN.
package struct Minimum: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "min"
  package static let arity = 2
  package static let signature = ElementwiseSignature.numeric

  package init() {}

  // The gradient goes where the value came from; a tie splits it evenly, as in PyTorch.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (g, a, b) = (context.gradient, context.operands[0], context.operands[1])
    let half = `where`(equal(a, b), g * 0.5, 0)
    return [
      context.isNeeded[0] ? `where`(less(a, b), g, half) : nil,
      context.isNeeded[1] ? `where`(less(b, a), g, half) : nil,
    ]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0].isNaN || x[0] < x[1] ? x[0] : x[1] }
  package func evaluate(_ x: [Int64]) -> Int64 { min(x[0], x[1]) }
}

/// The lesser of two elements, with NumPy broadcasting; NaN where either is NaN.
public func minimum(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b, file, line)
  return .apply(Minimum(), to: a, b, location: sourceLocation(file, line))
}

public func minimum(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { minimum(a, a.operand(b), file: file, line: line) }

public func minimum(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { minimum(b.operand(a), b, file: file, line: line) }
