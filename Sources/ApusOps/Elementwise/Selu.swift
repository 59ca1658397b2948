// The self-normalising exponential linear unit.

import ApusGraph
import Glibc

/// `y = λ x` above 0, `λ α (eˣ - 1)` below, with λ ≈ 1.0507 and α ≈ 1.6733 (Klambauer et al. 2017,
/// "Self-Normalizing Neural Networks").
package struct Selu: PlainElementwiseOp {
  package static let mnemonic = "selu"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float

  static let scale = 1.0507009873554804934193349852946
  static let alpha = 1.6732632423543772848170429916717

  package init() {}

  // dy/dx = λ above 0, y + λα below
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (x, y, g) = (context.operands[0], context.result, context.gradient)
    return [`where`(greater(x, 0), g * Self.scale, g * (y + Self.scale * Self.alpha))]
  }

  package func evaluate(_ x: [Double]) -> Double {
    Self.scale * (x[0] > 0 ? x[0] : Self.alpha * expm1(x[0]))
  }
}

/// The self-normalising exponential linear unit of every element.
public func selu(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Selu(), to: x, location: sourceLocation(file, line))
}
