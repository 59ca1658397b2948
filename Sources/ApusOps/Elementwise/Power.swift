// Power of two tensors.

import ApusGraph
import Glibc

/// `y = aᵇ`, broadcasting; NaN for a negative `a` and a `b` that is not whole.
package struct Power: PlainElementwiseOp {
  package static let mnemonic = "pow"
  package static let arity = 2
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/da = b aᵇ⁻¹, 0 where b is 0; dy/db = y ln a, 0 where a is 0 (its limit for b > 0; for b < 0, where y
  // itself is infinite, PyTorch has -∞). No factor is infinite where the other is 0, here or in the second
  // derivative: that would be NaN.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (g, a, b) = (context.gradient, context.operands[0], context.operands[1])
    let isZero = equal(a, 0)
    var slope: Tensor?
    if context.isNeeded[0] {
      let isFlat = equal(b, 0)
      slope = `where`(isFlat, 0, b * pow(`where`(isFlat, 1, a), b - 1))
    }
    return [
      slope.map { g * $0 },
      context.isNeeded[1]
        ? g * (`where`(isZero, 0, context.result) * log(`where`(isZero, 1, a))) : nil,
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
