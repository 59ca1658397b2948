// The angle of a point.

import ApusGraph
import Glibc

/// `y` is the angle of the point (b, a), in [-π, π].
package struct Atan2: PlainElementwiseOp {
  package static let mnemonic = "atan2"
  package static let arity = 2
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/da = b / (a² + b²), dy/db = -a / (a² + b²)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (a, b) = (context.operands[0], context.operands[1])
    let g = context.gradient / (square(a) + square(b))
    return [context.isNeeded[0] ? g * b : nil, context.isNeeded[1] ? -(g * a) : nil]
  }

  package func evaluate(_ x: [Double]) -> Double { Glibc.atan2(x[0], x[1]) }
}

/// The angle of the point (b, a), in [-π, π], with NumPy broadcasting.
public func atan2(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b, file, line)
  return .apply(Atan2(), to: a, b, location: sourceLocation(file, line))
}

public func atan2(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { atan2(a, a.operand(b), file: file, line: line) }

public func atan2(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { atan2(b.operand(a), b, file: file, line: line) }
