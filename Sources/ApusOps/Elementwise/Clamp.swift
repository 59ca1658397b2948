// A number held between two bounds.

import ApusGraph

/// `y = min(max(x, low), high)`; NaN stays.
package struct Clamp: ElementwiseOp {
  package static let mnemonic = "clamp"
  package static let arity = 1
  package static let signature = ElementwiseSignature.float
  package let low: Double
  package let high: Double

  package init(low: Double, high: Double) {
    self.low = low
    self.high = high
  }
  package init(attributes: AttributeReader) throws {
    low = try attributes.double("low")
    high = try attributes.double("high")
  }
  package var attributes: [Attribute] {
    [Attribute("low", .double(low)), Attribute("high", .double(high))]
  }
  package var immediates: [Double] { [low, high] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard low <= high else {
      throw ApusError(
        .invalidArgument, "clamp: the bounds are \(low) and \(high)", expected: "low ≤ high")
    }
    try expect(1, operands)
    guard operands[0].dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "clamp: not defined for \(operands[0])", expected: "floats")
    }
    return operands
  }

  // dy/dx = [low ≤ x ≤ high], the bounds included, as in PyTorch
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    let isInside = logicalAnd(greaterOrEqual(x, low), lessOrEqual(x, high))
    return [`where`(isInside, context.gradient, 0)]
  }

  package func evaluate(_ x: [Double]) -> Double { x[0] < low ? low : x[0] > high ? high : x[0] }
}

/// Every element held between `low` and `high`; either may be left out.
public func clamp(
  _ x: Tensor, low: Double = -.infinity, high: Double = .infinity, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  .apply(Clamp(low: low, high: high), to: x, location: sourceLocation(file, line))
}

/// Every element held between -1 and 1.
public func hardTanh(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  clamp(x, low: -1, high: 1, file: file, line: line)
}
