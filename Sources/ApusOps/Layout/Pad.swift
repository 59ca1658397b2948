// A tensor within a larger one.

import ApusGraph

/// `y[low + steps · i] = x[i]`, and `value` everywhere else in `y`, which has shape `shape`. With steps
/// above 1 it is what ``Slice``'s gradient needs.
package struct Pad: MovingOp {
  package static let mnemonic = "pad"
  package let low: [Int]
  package let steps: [Int]
  package let shape: Shape
  package let value: Double

  package init(low: [Int], steps: [Int], shape: Shape, value: Double) {
    self.low = low
    self.steps = steps
    self.shape = shape
    self.value = value
  }

  package init(attributes: AttributeReader) throws {
    low = try attributes.ints("low")
    steps = try attributes.ints("steps")
    shape = Shape(try attributes.ints("shape"))
    value = try attributes.double("value")
  }

  package var attributes: [Attribute] {
    [
      Attribute("low", .ints(low)), Attribute("steps", .ints(steps)),
      Attribute("shape", .ints(shape.dimensions)), Attribute("value", .double(value)),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let source = operands[0].shape
    guard low.count == source.rank, steps.count == source.rank, shape.rank == source.rank else {
      throw ApusError(
        .invalidArgument, "pad: \(low.count) paddings for \(operands[0])",
        expected: "one for each of \(source.rank) axes")
    }
    for axis in 0..<source.rank {
      // Checked by division: the product could overflow.
      guard low[axis] >= 0, low[axis] <= shape[axis],
        (1...max(shape[axis], 1)).contains(steps[axis]),
        source[axis] == 0
          || low[axis] < shape[axis]
            && source[axis] - 1 <= (shape[axis] - 1 - low[axis]) / steps[axis]
      else {
        throw ApusError(
          .invalidArgument,
          "pad: \(operands[0]) from \(low[axis]) by \(steps[axis]) leaves extent \(shape[axis]) of "
            + "axis \(axis)", expected: "every element within \(shape)")
      }
    }
    return [operands[0].with(shape)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let source = context.operands[0].shape
    // An axis with no elements starts anywhere; one that is not walked does not step.
    let starts = (0..<source.rank).map { source[$0] == 0 ? 0 : low[$0] }
    let op = Slice(starts: starts, steps: steps, shape: source)
    return [.apply(op, to: context.gradient)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let one = NDArray(doubles: [value], type: results[0].with([]))
    var values = try NDArray(repeating: one, shape: shape)
    let target = View(dense: shape).sliced(starts: low, steps: steps, shape: operands[0].shape)
    values.place(operands[0], at: target.elements)
    return [values]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.pad(site, low: low, step: steps, value: value)
  }
}

extension Tensor {
  /// The tensor with `low[i]` elements of `value` before it and `high[i]` after it along each axis:
  /// NumPy's `pad` in its constant mode.
  ///
  ///     x.padded(low: [0, 1], high: [0, 1])   // f32[3,4] → f32[3,6]
  public func padded(
    low: [Int], high: [Int], value: Double = 0, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      guard low.count == rank, high.count == rank, (low + high).allSatisfy({ $0 >= 0 }) else {
        throw ApusError(
          .invalidArgument, "pad: \(low) before and \(high) after \(type)",
          expected: "one number an axis, none negative")
      }
      if (low + high).allSatisfy({ $0 == 0 }) { return self }
      let padded = Shape(try (0..<rank).map { try Shape.sum([low[$0], shape[$0], high[$0]]) })
      _ = try type.with(padded).checked("pad")
      let op = Pad(
        low: low, steps: Array(repeating: 1, count: rank), shape: padded, value: value)
      return .apply(op, to: self, location: sourceLocation(file, line))
    }
  }
}
