// Remainder of a truncated division.

import ApusGraph
import Glibc

/// `y = a - b · trunc(a/b)`, with the sign of `a`, as C's and PyTorch's `fmod` and Swift's `%`. The
/// remainder by an integer 0 is 0.
package struct Remainder: PlainElementwiseOp {
  package static let mnemonic = "rem"
  package static let arity = 2
  package static let signature = ElementwiseSignature.numeric

  package init() {}

  // dy/da = 1, dy/db = -trunc(a/b)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (g, a, b) = (context.gradient, context.operands[0], context.operands[1])
    return [g, context.isNeeded[1] ? -(g * trunc(a / b)) : nil]
  }

  package func evaluate(_ x: [Double]) -> Double { fmod(x[0], x[1]) }
}

extension Tensor {
  /// Elementwise remainder with the sign of the dividend, as Swift's `%` (PyTorch's `fmod`).
  public static func % (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Remainder(), to: a, b)
  }
  public static func % (a: Tensor, b: Double) -> Tensor { a % a.scalar(b) }
  public static func % (a: Double, b: Tensor) -> Tensor { b.scalar(a) % b }
}

/// Elementwise remainder with the sign of the divisor: NumPy's `mod`, PyTorch's `remainder`.
public func mod(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  a.located(file, line) {
    let (a, b) = Tensor.promoted(a, b, file, line)
    let r = a % b
    // A truncated remainder whose sign is not the divisor's is one divisor short.
    let isOff = (r .!= 0) .& ((r .< 0) .!= (b .< 0))
    return `where`(isOff, r + b, r, file: file, line: line)
  }
}

public func mod(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { mod(a, a.scalar(b), file: file, line: line) }

public func mod(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { mod(b.scalar(a), b, file: file, line: line) }

/// Elementwise quotient rounded down: NumPy's `floor_divide`.
public func floorDivide(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  a.located(file, line) {
    let (a, b) = Tensor.promoted(a, b, file, line)
    return a.dtype.isFloat
      ? floor(a / b, file: file, line: line) : (a - mod(a, b, file: file, line: line)) / b
  }
}

public func floorDivide(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { floorDivide(a, a.scalar(b), file: file, line: line) }

public func floorDivide(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { floorDivide(b.scalar(a), b, file: file, line: line) }
