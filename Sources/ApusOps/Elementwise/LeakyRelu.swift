// The rectifier with a slope below 0.

import ApusGraph

/// `y = x` above 0, `slope · x` below (Maas et al. 2013).
package struct LeakyRelu: ElementwiseOp {
  package static let mnemonic = "leaky_relu"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float
  package let slope: Double

  package init(slope: Double) {
    self.slope = slope
  }
  package init(attributes: AttributeReader) throws {
    slope = try attributes.double("slope")
  }
  package var attributes: [Attribute] {
    [Attribute("slope", .double(slope))]
  }
  package var immediates: [Double] { [slope] }

  // dy/dx = 1 above 0, slope below
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [`where`(greater(context.operands[0], 0), context.gradient, context.gradient * slope)]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] > 0 ? x[0] : slope * x[0] }
}

/// The rectifier with a slope (0.01 by default) for negative elements.
public func leakyRelu(
  _ x: Tensor, slope: Double = 0.01, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(LeakyRelu(slope: slope), to: x, location: sourceLocation(file, line))
}
