// Parts of host arrays: rows, slices along an axis, rows by number, rows one after the other.
//
// They are copies. A mistake is thrown, as it comes from data as often as from a program.

extension NDArray {
  /// The elements of a range along one axis; a negative axis counts from the end.
  ///
  ///     let left = try images.slice(axis: 2, 0..<14)   // u8[64,28,28] → u8[64,28,14]
  ///     let last = try x.slice(axis: -1, 9...)         // f32[64,10] → f32[64,1]
  ///
  /// - Throws: `invalidArgument` for an axis that does not exist or a range that leaves it.
  public func slice(axis: Int, _ range: some RangeExpression<Int>) throws -> NDArray {
    let axis = try shape.normalized(axis: axis)
    let range = try EveryPosition.positions(range, of: shape[axis], "axis \(axis) of \(type)")
    let inner = shape.dimensions.dropFirst(axis + 1).reduce(dtype.byteCount, Shape.product)
    let outer = shape.dimensions.prefix(axis).reduce(1, Shape.product)
    var result = shape
    result.dimensions[axis] = range.count
    let (pitch, run) = (shape[axis] * inner, range.count * inner)
    return NDArray(type.with(result)) { target in
      guard run > 0 else { return }
      for index in 0..<outer {
        let start = index * pitch + range.lowerBound * inner
        UnsafeMutableRawBufferPointer(rebasing: target[index * run..<(index + 1) * run])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: storage.bytes[start..<start + run]))
      }
    }
  }

  /// The rows of a range: slices along the first axis.
  ///
  ///     let few = try images[rows: 2..<5]   // u8[64,28,28] → u8[3,28,28]
  ///
  /// - Throws: `invalidArgument` where the range leaves the array, or the array is a scalar.
  public subscript(rows range: some RangeExpression<Int>) -> NDArray {
    get throws { try slice(axis: 0, range) }
  }

  /// One row, without the first axis; a negative number counts from the end.
  ///
  ///     let image = try images[3]   // u8[64,28,28] → u8[28,28]
  ///
  /// - Throws: `invalidArgument` where there is no such row, or the array is a scalar.
  public subscript(row: Int) -> NDArray {
    get throws {
      let extent = shape[try shape.normalized(axis: 0)]
      let index = row < 0 ? row + extent : row
      guard (0..<extent).contains(index) else {
        throw ApusError(
          .invalidArgument, "row \(row) leaves \(type)", expected: "a row in \(-extent)..<\(extent)"
        )
      }
      return try slice(axis: 0, index..<index + 1)
        .reshaped(Shape(Array(shape.dimensions.dropFirst())))
    }
  }

  /// The rows of those numbers, in that order; a number may come again.
  ///
  ///     let shuffled = try images.rows(at: order)   // u8[64,28,28] → u8[order.count,28,28]
  ///
  /// - Throws: `invalidArgument` where there is no such row, or the array is a scalar.
  public func rows(at numbers: [Int]) throws -> NDArray {
    let extent = shape[try shape.normalized(axis: 0)]
    if let wrong = numbers.first(where: { !(0..<extent).contains($0) }) {
      throw ApusError(
        .invalidArgument, "row \(wrong) leaves \(type)", expected: "rows in 0..<\(extent)")
    }
    let result = Shape([numbers.count] + shape.dimensions.dropFirst())
    let run = extent == 0 ? 0 : type.byteCount / extent
    return NDArray(try type.with(result).checked("rows")) { target in
      guard run > 0 else { return }
      for (index, row) in numbers.enumerated() {
        UnsafeMutableRawBufferPointer(rebasing: target[index * run..<(index + 1) * run])
          .copyMemory(
            from: UnsafeRawBufferPointer(rebasing: storage.bytes[row * run..<(row + 1) * run]))
      }
    }
  }
}
