// Axes of extent 1, and repetition: forms of reshape and broadcast.

import ApusGraph

extension Tensor {
  /// Without the given axes, which must have extent 1; without all such axes by default.
  ///
  ///     x.squeezed()   // f32[1,3,1] → f32[3]
  public func squeezed(
    axes: [Int]? = nil, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let axes =
        try axes.map { try shape.normalized(axes: $0) }
        ?? (0..<rank).filter { shape[$0] == 1 }
      if let axis = axes.first(where: { shape[$0] != 1 }) {
        throw ApusError(
          .shapeMismatch, "squeeze: axis \(axis) of \(type) has extent \(shape[axis])",
          expected: "extent 1")
      }
      return reshaped(shape.reducing(axes, keepDims: false), file: file, line: line)
    }
  }

  /// With a new axis of extent 1 at position `axis` of the result: NumPy's `expand_dims`.
  ///
  ///     x.expandingDims(at: -1)   // f32[3] → f32[3,1]
  public func expandingDims(
    at axis: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let index = axis < 0 ? axis + rank + 1 : axis
      guard (0...rank).contains(index) else {
        throw ApusError(
          .invalidArgument, "a new axis at \(axis) of \(type)",
          expected: "a position in \(-rank - 1)...\(rank)")
      }
      var dimensions = shape.dimensions
      dimensions.insert(1, at: index)
      return reshaped(Shape(dimensions), file: file, line: line)
    }
  }

  /// Each element `count` times in a row along `axis`: NumPy's `repeat`.
  ///
  ///     x.repeated(2, axis: 0)   // [1, 2] → [1, 1, 2, 2]
  public func repeated(
    _ count: Int, axis: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let axis = try shape.normalized(axis: axis)
      guard count >= 0 else {
        throw ApusError(.invalidArgument, "repeat: count \(count)", expected: "0 or more")
      }
      var wide = shape.dimensions
      wide.insert(count, at: axis + 1)
      var result = shape
      result.dimensions[axis] = Shape.product(shape[axis], count)
      _ = try type.with(result).checked("repeat")
      return expandingDims(at: axis + 1, file: file, line: line)
        .broadcast(to: Shape(wide), file: file, line: line)
        .reshaped(result, file: file, line: line)
    }
  }

  /// The whole tensor `counts[i]` times along each axis: NumPy's `tile`.
  ///
  ///     x.tiled([2])   // [1, 2] → [1, 2, 1, 2]
  public func tiled(
    _ counts: [Int], file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      guard counts.count == rank, counts.allSatisfy({ $0 >= 0 }) else {
        throw ApusError(
          .invalidArgument, "tile: counts \(counts) for \(type)",
          expected: "one an axis, none negative")
      }
      let split = Shape(shape.dimensions.flatMap { [1, $0] })
      let wide = Shape(zip(counts, shape.dimensions).flatMap { [$0, $1] })
      let result = Shape(zip(counts, shape.dimensions).map(Shape.product))
      _ = try type.with(result).checked("tile")
      return reshaped(split, file: file, line: line).broadcast(to: wide, file: file, line: line)
        .reshaped(result, file: file, line: line)
    }
  }

  /// The lower triangle of the last two axes: 0 above the `diagonal`-th diagonal. NumPy's `tril`.
  public func lowerTriangle(
    diagonal: Int = 0, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { triangle(isLower: true, diagonal, file, line) }

  /// The upper triangle of the last two axes: 0 below the `diagonal`-th diagonal. NumPy's `triu`.
  public func upperTriangle(
    diagonal: Int = 0, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { triangle(isLower: false, diagonal, file, line) }

  private func triangle(
    isLower: Bool, _ diagonal: Int, _ file: StaticString, _ line: UInt
  ) -> Tensor {
    located(file, line) {
      guard rank >= 2 else {
        throw ApusError(
          .shapeMismatch, "\(type) has no triangle", expected: "a matrix, or a batch of them")
      }
      let rows = trace.indices(shape[-2]).expandingDims(at: 1, file: file, line: line)
      let columns = trace.indices(shape[-1])
      // Diagonals beyond the corners keep all or nothing, and must not wrap around.
      let nearest = Swift.min(Swift.max(diagonal, -shape[-2]), shape[-1])
      let limit = rows + rows.scalar(Double(nearest))
      let isKept = isLower ? columns .<= limit : columns .>= limit
      return `where`(isKept, self, scalar(0), file: file, line: line)
    }
  }
}
