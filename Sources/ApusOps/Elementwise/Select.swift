// Choice between two tensors, element by element.

import ApusGraph

/// `y = c ? a : b`, broadcasting; `c` is bool, `a` and `b` have one element type.
package struct Select: PlainElementwiseOp, IntegerElementwiseOp, MovingOp {
  package static let mnemonic = "select"
  package static let arity = 3
  package static let signature = ElementwiseSignature.comparison

  package init() {}

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(3, operands)
    guard operands[0].dtype == .bool, operands[1].dtype == operands[2].dtype else {
      throw ApusError(
        .dtypeMismatch, "select: operands are \(operands[0]), \(operands[1]) and \(operands[2])",
        expected: "a bool condition and two values of one element type")
    }
    return [TensorType(operands[1].dtype, try broadcastShape(operands))]
  }

  // The gradient goes where the value came from.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    guard context.operands[1].dtype.isFloat else { return [nil, nil, nil] }
    let (g, condition) = (context.gradient, context.operands[0])
    let zero = g.scalar(0)
    return [
      nil,
      context.isNeeded[1] ? .apply(Select(), to: condition, g, zero) : nil,
      context.isNeeded[2] ? .apply(Select(), to: condition, zero, g) : nil,
    ]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] != 0 ? x[1] : x[2] }
  package func evaluate(_ x: [Int64]) -> Int64 { x[0] != 0 ? x[1] : x[2] }
}

/// `a` where the condition holds, `b` elsewhere, with NumPy broadcasting.
///
///     `where`(less(x, 0), x * 0.1, x)   // a leaky relu
public func `where`(
  _ condition: Tensor, _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b, file, line)
  return .apply(Select(), to: condition, a, b, location: sourceLocation(file, line))
}

public func `where`(
  _ condition: Tensor, _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { `where`(condition, a, a.operand(b), file: file, line: line) }

public func `where`(
  _ condition: Tensor, _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { `where`(condition, b.operand(a), b, file: file, line: line) }
