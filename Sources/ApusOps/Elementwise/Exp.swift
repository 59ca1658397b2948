// The exponential function.

import ApusGraph
import Glibc

/// `y = eˣ`.
package struct Exp: PlainElementwiseOp {
  package static let mnemonic = "exp"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = eˣ = y: the result is kept rather than the operand.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * context.result]
  }

  package func evaluate(_ x: [Double]) -> Double { exp(x[0]) }
}

/// The exponential of every element.
///
///     exp(x)   // x: f32[2,3] → f32[2,3]
public func exp(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Exp(), to: x, location: sourceLocation(file, line))
}
