// The rectifier with a slope below 0.

import ApusGraph

/// `y = x` above 0, `slope · x` below (Maas et al. 2013).
public struct LeakyRelu: ElementwiseOp {
  public static let mnemonic = "leaky_relu"
  public static let arity = 1
  public static let signature = ElementwiseSignature.float
  public let slope: Double

  public init(slope: Double) {
    self.slope = slope
  }
  public init(attributes: AttributeReader) throws {
    slope = try attributes.double("slope")
  }
  public var attributes: [Attribute] {
    [Attribute("slope", .double(slope))]
  }
  public var immediates: [Double] { [slope] }

  // dy/dx = 1 above 0, slope below
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [`where`(greater(context.operands[0], 0), context.gradient, context.gradient * slope)]
  }

  public func evaluate(_ x: [Double]) -> Double { x[0] > 0 ? x[0] : slope * x[0] }
}

/// The rectifier with a slope (0.01 by default) for negative elements.
public func leakyRelu(
  _ x: Tensor, slope: Double = 0.01, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(LeakyRelu(slope: slope), to: x, location: sourceLocation(file, line))
}
