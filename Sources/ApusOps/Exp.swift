// The exponential function.

import ApusGraph
import Glibc

/// `y = eˣ`.
public struct Exp: PlainElementwiseOp {
  public static let mnemonic = "exp"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float

  public init() {}

  // dy/dx = eˣ = y: the result is kept rather than the operand.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * context.result]
  }

  public func evaluate(_ x: [Double]) -> Double { exp(x[0]) }
}

/// The exponential of every element.
///
///     exp(x)   // x: f32[2,3] → f32[2,3]
public func exp(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Exp(), to: x, location: sourceLocation(file, line))
}
