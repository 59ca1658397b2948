// The exponential linear unit.

import ApusGraph
import Glibc

/// `y = x` above 0, `alpha · (eˣ - 1)` below (Clevert et al. 2015).
package struct Elu: ElementwiseOp {
  package static let mnemonic = "elu"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float
  package let alpha: Double

  package init(alpha: Double) {
    self.alpha = alpha
  }
  package init(attributes: AttributeReader) throws {
    alpha = try attributes.double("alpha")
  }
  package var attributes: [Attribute] {
    [Attribute("alpha", .double(alpha))]
  }
  package var immediates: [Double] { [alpha] }

  // dy/dx = 1 above 0, alpha eˣ = y + alpha below
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [
      `where`(
        greater(context.operands[0], 0), context.gradient,
        context.gradient * (context.result + alpha))
    ]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] > 0 ? x[0] : alpha * expm1(x[0]) }
}

/// The exponential linear unit of every element.
public func elu(
  _ x: Tensor, alpha: Double = 1, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(Elu(alpha: alpha), to: x, location: sourceLocation(file, line))
}
