// A box of elements out of a tensor.

import ApusGraph

/// `y[i] = x[starts + steps · i]` for `i` within `shape`. Steps may be negative, not 0.
package struct Slice: ViewOp {
  package static let mnemonic = "slice"
  package let starts: [Int]
  package let steps: [Int]
  package let shape: Shape

  package init(starts: [Int], steps: [Int], shape: Shape) {
    self.starts = starts
    self.steps = steps
    self.shape = shape
  }

  package init(attributes: AttributeReader) throws {
    starts = try attributes.ints("starts")
    steps = try attributes.ints("steps")
    shape = Shape(try attributes.ints("shape"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("starts", .ints(starts)), Attribute("steps", .ints(steps)),
      Attribute("shape", .ints(shape.dimensions)),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let source = operands[0].shape
    guard starts.count == source.rank, steps.count == source.rank, shape.rank == source.rank else {
      throw ApusError(
        .invalidArgument, "slice: \(starts.count) starts for \(operands[0])",
        expected: "a start, a step and an extent for each of \(source.rank) axes")
    }
    for axis in 0..<source.rank {
      guard steps[axis] != 0, steps[axis].magnitude <= UInt(max(source[axis], 1)), shape[axis] >= 0
      else {
        throw ApusError(
          .invalidArgument, "slice: step \(steps[axis]) and extent \(shape[axis]) at axis \(axis)",
          expected:
            "a step that is not 0, nor longer than the axis, and an extent that is not negative")
      }
      // Checked by division: the product could overflow.
      let room = 0..<source[axis]
      let start = min(max(starts[axis], 0), source[axis])
      let reach = steps[axis] > 0 ? source[axis] - 1 - start : start
      // An empty slice starts anywhere, the end included.
      let isInside =
        shape[axis] == 0
        ? (0...source[axis]).contains(starts[axis])
        : room.contains(starts[axis])
          && shape[axis] - 1 <= reach / Int(steps[axis].magnitude)
      guard isInside
      else {
        throw ApusError(
          .invalidArgument,
          "slice: \(shape[axis]) elements from \(starts[axis]) by \(steps[axis]) leave axis \(axis) "
            + "of \(operands[0])", expected: "elements in \(room)")
      }
    }
    return [operands[0].with(shape)]
  }

  // The gradient goes back to its places among zeros; a flipped slice is first turned round.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let target = context.operands[0].shape
    var gradient = context.gradient
    let flipped = (0..<shape.rank).filter { self.steps[$0] < 0 && shape[$0] > 0 }
    if !flipped.isEmpty { gradient = gradient.flipped(axes: flipped) }
    let low = (0..<shape.rank).map { axis in
      shape[axis] == 0
        ? 0
        : self.steps[axis] > 0
          ? starts[axis] : starts[axis] + (shape[axis] - 1) * self.steps[axis]
    }
    let steps = self.steps.enumerated().map { shape[$0.offset] > 1 ? abs($0.element) : 1 }
    let pad = Pad(low: low, steps: steps, shape: target, value: 0)
    return [.apply(pad, to: gradient)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let view = View(dense: operands[0].shape)
    return [operands[0].viewed(through: view.sliced(starts: starts, steps: steps, shape: shape))]
  }

  package func view(of operand: View) -> View? {
    operand.sliced(starts: starts, steps: steps, shape: shape)
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.copy(
      site, through: site.views[0].sliced(starts: starts, steps: steps, shape: shape))
  }
}

extension Tensor {
  /// Every `step`-th element along `axis` from `start` up to, not including, `stop`, as Python's
  /// `x[start:stop:step]`: negative positions count from the end, positions beyond the ends are moved
  /// to them, and a negative step walks backwards.
  ///
  ///     x.sliced(axis: 1, from: 2)              // x[:, 2:]
  ///     x.sliced(axis: 0, from: -1, step: -1)   // x[::-1]
  public func sliced(
    axis: Int, from start: Int? = nil, to stop: Int? = nil, step: Int = 1,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let axis = try shape.normalized(axis: axis)
      var starts: [Int?] = Array(repeating: nil, count: rank)
      var stops = starts
      var steps = Array(repeating: 1, count: rank)
      (starts[axis], stops[axis], steps[axis]) = (start, stop, step)
      return sliced(starts: starts, stops: stops, steps: steps, file: file, line: line)
    }
  }

  /// Python's slice along every axis at once; nil is an end left out.
  ///
  ///     x.sliced(starts: [0, 2], stops: [nil, -1])   // x[0:, 2:-1]
  public func sliced(
    starts: [Int?], stops: [Int?], steps: [Int]? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let steps = steps ?? Array(repeating: 1, count: rank)
      guard starts.count == rank, stops.count == rank, steps.count == rank, !steps.contains(0)
      else {
        throw ApusError(
          .invalidArgument,
          "slice: starts \(starts), stops \(stops) and steps \(steps) for \(type)",
          expected: "one of each an axis, and steps that are not 0")
      }
      var from = [Int](), counts = [Int]()
      for axis in 0..<rank {
        let (extent, step) = (shape[axis], steps[axis])
        func place(_ position: Int?, _ end: Int) -> Int {
          guard let position else { return end }
          let index = position < 0 ? position + extent : position
          return step > 0
            ? Swift.min(Swift.max(index, 0), extent) : Swift.min(Swift.max(index, -1), extent - 1)
        }
        let start = place(starts[axis], step > 0 ? 0 : extent - 1)
        let stop = place(stops[axis], step > 0 ? extent : -1)
        let reach = step > 0 ? stop - start : start - stop
        // Rounded up without adding the step, which may be as large as an Int.
        let size = Int(clamping: step.magnitude)
        counts.append(reach <= 0 ? 0 : (reach - 1) / size + 1)
        from.append(reach <= 0 ? 0 : start)
      }
      // A slice of one element or none does not step.
      let walked = steps.enumerated().map { counts[$0.offset] > 1 ? $0.element : 1 }
      if Shape(counts) == shape, from.allSatisfy({ $0 == 0 }), walked.allSatisfy({ $0 == 1 }) {
        return self
      }
      let op = Slice(starts: from, steps: walked, shape: Shape(counts))
      return .apply(op, to: self, location: sourceLocation(file, line))
    }
  }

  /// The elements of a range along an axis.
  ///
  ///     x[2..<5, axis: 1]   // f32[64,10] → f32[64,3]
  ///     x[2..., axis: 1]
  ///
  /// Unlike Python's, the range must lie within the axis.
  public subscript(
    range: some RangeExpression<Int>, axis axis: Int, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let axis = try shape.normalized(axis: axis)
      let range = try EveryPosition.positions(
        range, of: shape[axis], "axis \(axis) of \(type)")
      return sliced(
        axis: axis, from: range.lowerBound, to: range.upperBound, file: file, line: line)
    }
  }

  /// The elements at one position along an axis, which goes; a negative position counts from the end.
  ///
  ///     x[0, axis: 1]    // f32[64,10] → f32[64]
  public subscript(
    position: Int, axis axis: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let axis = try shape.normalized(axis: axis)
      let index = position < 0 ? position + shape[axis] : position
      guard (0..<shape[axis]).contains(index) else {
        throw ApusError(
          .invalidArgument, "position \(position) leaves axis \(axis) of \(type)",
          expected: "a position in \(-shape[axis])..<\(shape[axis])")
      }
      return sliced(axis: axis, from: index, to: index + 1, file: file, line: line)
        .squeezed(axes: [axis], file: file, line: line)
    }
  }

  /// The order of the elements reversed along `axes`, all of them by default.
  public func flipped(
    axes: [Int]? = nil, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let axes = try shape.normalized(axes: axes).filter { shape[$0] > 1 }
      if axes.isEmpty { return self }
      let op = Slice(
        starts: (0..<rank).map { axes.contains($0) ? shape[$0] - 1 : 0 },
        steps: (0..<rank).map { axes.contains($0) ? -1 : 1 }, shape: shape)
      return .apply(op, to: self, location: sourceLocation(file, line))
    }
  }

  /// The tensor cut along `axis` into pieces of the given extents: PyTorch's `split`.
  ///
  ///     let (q, k) = (parts[0], parts[1])   // parts = x.split([64, 64], axis: -1)
  public func split(
    _ sizes: [Int], axis: Int = 0, file: StaticString = #fileID, line: UInt = #line
  ) -> [Tensor] {
    guard let index = try? shape.normalized(axis: axis), sizes.allSatisfy({ $0 >= 0 }),
      (try? Shape.sum(sizes)) == shape[index]
    else {
      let error = ApusError(
        .invalidArgument, "split: sizes \(sizes) along axis \(axis) of \(type)",
        expected: "sizes that add up to the axis's extent")
      let bad = Tensor.poisoned(error, like: self, location: sourceLocation(file, line))
      return sizes.map { _ in bad }
    }
    var start = 0
    return sizes.map { size in
      defer { start += size }
      return sliced(axis: index, from: start, to: start + size, file: file, line: line)
    }
  }

  /// The tensor cut along `axis` into `count` equal pieces.
  public func chunked(
    into count: Int, axis: Int = 0, file: StaticString = #fileID, line: UInt = #line
  ) -> [Tensor] {
    let extent = (try? shape.normalized(axis: axis)).map { shape[$0] } ?? 0
    guard count > 0, extent % count == 0, count <= Swift.max(extent, 1 << 16) else {
      let error = ApusError(
        .invalidArgument, "axis \(axis) of \(type) cannot be cut into \(count) equal pieces",
        expected: "a positive number that divides \(extent)")
      let bad = Tensor.poisoned(error, like: self, location: sourceLocation(file, line))
      // As many as were asked for, within reason: what reads one of them is not to trap.
      return Array(repeating: bad, count: Swift.min(Swift.max(count, 1), 1 << 16))
    }
    return split(
      Array(repeating: extent / count, count: count), axis: axis, file: file, line: line)
  }
}
