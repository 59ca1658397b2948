// Quotient of two tensors.

import ApusGraph

/// `y = a / b`, broadcasting. Integers truncate towards zero; division by an integer 0 gives 0.
package struct Divide: PlainElementwiseOp {
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
}

extension Tensor {
  /// Elementwise quotient with NumPy broadcasting. Integers truncate towards zero.
  public static func / (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Divide(), to: a, b)
  }
  public static func / (a: Tensor, b: Double) -> Tensor { a / a.scalar(b) }
  public static func / (a: Double, b: Tensor) -> Tensor { b.scalar(a) / b }
}
