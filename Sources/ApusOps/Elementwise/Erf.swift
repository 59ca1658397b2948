// The error function.

import ApusGraph
import Glibc

/// `y = erf x = 2/√π ∫₀ˣ exp(-t²) dt`.
package struct Erf: PlainElementwiseOp {
  package static let mnemonic = "erf"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  package init() {}

  // dy/dx = 2/√π exp(-x²)
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient * (exp(-square(context.operands[0])) * M_2_SQRTPI)]
  }

  package func evaluate(_ x: [Double]) -> Double { erf(x[0]) }
}

/// The error function of every element.
public func erf(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Erf(), to: x, location: sourceLocation(file, line))
}
