// Remainder of a truncated division.

import ApusGraph
import Glibc

/// `y = a - b · trunc(a/b)`, with the sign of `a`, as C's and PyTorch's `fmod` and Swift's `%`. The
/// remainder by an integer 0 is 0.
package struct Remainder: PlainElementwiseOp, IntegerElementwiseOp {
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
  package func evaluate(_ x: [Int64]) -> Int64 {
    x[1] == 0 ? 0 : x[0].remainderReportingOverflow(dividingBy: x[1]).partialValue
  }
}

extension Tensor {
  /// Elementwise remainder with the sign of the dividend, as Swift's `%` (PyTorch's `fmod`).
  public static func % (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Remainder(), to: a, b)
  }
  public static func % (a: Tensor, b: Double) -> Tensor { a % a.operand(b) }
  public static func % (a: Double, b: Tensor) -> Tensor { b.operand(a) % b }
}

/// Elementwise remainder with the sign of the divisor: NumPy's `mod`, PyTorch's `remainder`. With
/// ``floorDivide(_:_:file:line:)-(Tensor,Tensor,_,_)`` it satisfies `q b + r = a`.
public func mod(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  a.located(file, line) {
    let (a, b) = Tensor.promoted(a, b, file, line)
    let r = a % b
    return `where`(isShort(r, b), r + b, r, file: file, line: line)
  }
}

/// Where a truncated remainder has not its divisor's sign: it is one divisor short of the floored one.
private func isShort(_ r: Tensor, _ b: Tensor) -> Tensor { (r .!= 0) .& ((r .< 0) .!= (b .< 0)) }

public func mod(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { mod(a, a.operand(b), file: file, line: line) }

public func mod(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { mod(b.operand(a), b, file: file, line: line) }

/// Elementwise quotient rounded down: NumPy's `floor_divide`. With
/// ``mod(_:_:file:line:)-(Tensor,Tensor,_,_)`` it satisfies `q b + r = a`: of floats it is not the floor of
/// the rounded quotient.
///
///     floorDivide(x, 0.1)   // f32 1.0 → 9.0, for 0.1 as f32 is a little more than a tenth
public func floorDivide(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  a.located(file, line) {
    let (a, b) = Tensor.promoted(a, b, file, line)
    let r = a % b
    let one = isShort(r, b).cast(to: a.dtype, file: file, line: line)
    guard a.dtype.isFloat else {
      return .apply(Divide(), to: a, b, location: sourceLocation(file, line)) - one
    }
    // What remains without the remainder is whole but for a rounding; a divisor of 0 leaves none.
    let whole = round((a - r) / b, file: file, line: line) - one
    return `where`(b .== 0, a / b, whole, file: file, line: line)
  }
}

public func floorDivide(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { floorDivide(a, a.operand(b), file: file, line: line) }

public func floorDivide(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { floorDivide(b.operand(a), b, file: file, line: line) }
