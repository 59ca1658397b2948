// Quotient of two tensors.

import ApusGraph

/// `y = a / b`, broadcasting. Integers truncate towards zero; division by an integer 0 gives 0.
package struct Divide: PlainElementwiseOp, IntegerElementwiseOp {
  package static let mnemonic = "div"
  package static let arity = 2
  package static let signature = ElementwiseSignature.numeric

  package init() {}

  // dy/da = 1/b, dy/db = -y/b
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (g, b) = (context.gradient, context.operands[1])
    return [
      context.isNeeded[0] ? g / b : nil,
      context.isNeeded[1] ? -(g * context.result / b) : nil,
    ]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] / x[1] }
  package func evaluate(_ x: [Int64]) -> Int64 {
    x[1] == 0 ? 0 : x[0].dividedReportingOverflow(by: x[1]).partialValue
  }
}

extension Tensor {
  /// Elementwise quotient with NumPy broadcasting. Integers are divided as `f32`, so that pixels by 255 are
  /// fractions, as in NumPy and PyTorch; see ``truncatingDivide(_:_:file:line:)-(Tensor,Tensor,_,_)`` and
  /// ``floorDivide(_:_:file:line:)-(Tensor,Tensor,_,_)`` for whole quotients.
  ///
  ///     images / 255   // u8[64,784] → f32[64,784] in 0...1
  public static func / (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    guard !a.dtype.isFloat else { return .apply(Divide(), to: a, b) }
    return .apply(Divide(), to: a.cast(to: .f32, location: nil), b.cast(to: .f32, location: nil))
  }
  public static func / (a: Tensor, b: Double) -> Tensor { a / a.operand(b) }
  public static func / (a: Double, b: Tensor) -> Tensor { b.operand(a) / b }
}

/// Elementwise quotient without its fraction, as Swift's `/` of integers. An integer divided by 0 gives 0.
///
///     truncatingDivide(x, 2)   // i32 [-7, 7] → [-3, 3]
public func truncatingDivide(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  a.located(file, line) {
    let (a, b) = Tensor.promoted(a, b, file, line)
    let quotient = Tensor.apply(Divide(), to: a, b, location: sourceLocation(file, line))
    return a.dtype.isFloat ? trunc(quotient, file: file, line: line) : quotient
  }
}

public func truncatingDivide(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { truncatingDivide(a, a.operand(b), file: file, line: line) }

public func truncatingDivide(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { truncatingDivide(b.operand(a), b, file: file, line: line) }
