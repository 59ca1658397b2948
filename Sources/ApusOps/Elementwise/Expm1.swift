// The exponential function less one.

import ApusGraph
import Glibc

/// `y = eˣ - 1`, exact for small `x`, where `eˣ` rounds to 1.
package struct Expm1: PlainElementwiseOp {
  package static let mnemonic = "expm1"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = eˣ = y + 1
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (context.result + 1)]
  }

  package func evaluate(_ x: [Double]) -> Double { expm1(x[0]) }
}

/// The exponential of every element, less one, without loss of digits near 0.
public func expm1(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Expm1(), to: x, location: sourceLocation(file, line))
}
