// Power of two tensors.

import ApusGraph
import Glibc

/// `y = aᵇ`, broadcasting; NaN for a negative `a` and a `b` that is not whole.
package struct Power: PlainElementwiseOp {
  package static let mnemonic = "pow"
  package static let arity = 2
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/da = b aᵇ⁻¹, 0 where b is 0; dy/db = y ln a, 0 where a is 0 (its limit for b > 0). The logarithm
  // is taken of a base that is never 0: a NaN there would come back through the second derivative.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (g, a, b) = (context.gradient, context.operands[0], context.operands[1])
    let isZero = equal(a, 0)
    let slope = `where`(equal(b, 0), 0, b * pow(a, b - 1))
    return [
      context.isNeeded[0] ? g * slope : nil,
      context.isNeeded[1]
        ? g * (context.result * `where`(isZero, 0, log(`where`(isZero, 1, a)))) : nil,
    ]
  }

  package func evaluate(_ x: [Double]) -> Double { Glibc.pow(x[0], x[1]) }
}

/// `aᵇ` of every element, with NumPy broadcasting.
public func pow(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b, file, line)
  return .apply(Power(), to: a, b, location: sourceLocation(file, line))
}

public func pow(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  // The usual exponents have kernels of their own that are exact.
  switch b {
  case 1: a
  case 2: square(a, file: file, line: line)
  case 0.5: sqrt(a, file: file, line: line)
  case -0.5: rsqrt(a, file: file, line: line)
  case -1: reciprocal(a, file: file, line: line)
  default: pow(a, a.operand(b), file: file, line: line)
  }
}

public func pow(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { pow(b.operand(a), b, file: file, line: line) }
