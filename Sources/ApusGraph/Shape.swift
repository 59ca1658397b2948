// Shapes, broadcasting and axis arithmetic.

/// The extents of a tensor, outermost first. A scalar has the empty shape.
///
///     let images: Shape = [64, 28, 28]
///     images.count   // 50176
public struct Shape: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
  public var dimensions: [Int]

  public init(_ dimensions: [Int]) { self.dimensions = dimensions }
  public init(arrayLiteral elements: Int...) { dimensions = elements }

  /// The number of axes.
  public var rank: Int { dimensions.count }

  /// The number of elements, 1 for a scalar; `Int.max` where it is beyond that.
  public var count: Int { dimensions.reduce(1, Shape.product) }

  /// The extent of `axis`; a negative axis counts from the end. An axis that does not exist has
  /// extent 1, as it has in broadcasting, so that reading a shape never traps.
  public subscript(axis: Int) -> Int {
    let index = axis < 0 ? axis + rank : axis
    return dimensions.indices.contains(index) ? dimensions[index] : 1
  }

  /// Strides, in elements, of a dense row-major tensor of this shape.
  public var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = Shape.product(strides[axis + 1], max(dimensions[axis + 1], 1))
    }
    return strides
  }

  /// A product that stops at `Int.max`: absurd extents are refused by ``TensorType/checked(_:)``.
  package static func product(_ a: Int, _ b: Int) -> Int {
    let (product, overflows) = a.multipliedReportingOverflow(by: b)
    return overflows ? .max : product
  }

  /// A sum of extents.
  ///
  /// - Throws: `invalidArgument` where it is beyond any extent.
  package static func sum(_ extents: [Int]) throws -> Int {
    try extents.reduce(0) { sum, extent in
      let (next, overflows) = sum.addingReportingOverflow(extent)
      guard !overflows else {
        throw ApusError(
          .invalidArgument, "the extents \(extents) add up to more than an extent may be",
          expected: "less than 2^63")
      }
      return next
    }
  }

  public var description: String { "[" + dimensions.map(String.init).joined(separator: ",") + "]" }

  /// This shape with an extent of -1, if there is one, such that it has `count` elements; as it is where
  /// there is no such extent.
  package func completed(for count: Int) -> Shape {
    guard let free = dimensions.firstIndex(of: -1) else { return self }
    var result = self
    result.dimensions[free] = 1
    guard result.count > 0, count % result.count == 0 else { return self }
    result.dimensions[free] = count / result.count
    return result
  }

  /// The shape that `a` and `b` have together under NumPy's broadcasting rules.
  ///
  /// - Throws: `ApusError` of kind `shapeMismatch` where two extents differ and neither is 1.
  public static func broadcast(_ a: Shape, _ b: Shape) throws -> Shape {
    if a == b { return a }
    let rank = max(a.rank, b.rank)
    var result = [Int](repeating: 1, count: rank)
    for axis in 1...max(rank, 1) where axis <= rank {
      let x = a[-axis], y = b[-axis]
      guard x == y || x == 1 || y == 1 else {
        throw ApusError(
          .shapeMismatch, "shapes \(a) and \(b) cannot be broadcast together",
          expected: "extents that are equal or 1 at axis -\(axis), got \(x) and \(y)")
      }
      result[rank - axis] = x == 1 ? y : x
    }
    return Shape(result)
  }

  /// `axis` as an index from 0.
  ///
  /// - Throws: `invalidArgument` where the axis is outside `-rank ..< rank`.
  public func normalized(axis: Int) throws -> Int {
    let index = axis < 0 ? axis + rank : axis
    guard (0..<rank).contains(index) else {
      throw ApusError(
        .invalidArgument, "axis \(axis) does not exist in shape \(self)",
        expected: rank == 0 ? "no axis: the tensor is a scalar" : "an axis in \(-rank)..<\(rank)")
    }
    return index
  }

  /// `axes` as sorted indices from 0, all axes where it is nil.
  ///
  /// - Throws: `invalidArgument` for an axis that does not exist or stands twice.
  public func normalized(axes: [Int]?) throws -> [Int] {
    guard let axes else { return Array(0..<rank) }
    let indices = try axes.map(normalized(axis:)).sorted()
    guard Set(indices).count == indices.count else {
      throw ApusError(
        .invalidArgument, "axes \(axes) name an axis twice", expected: "each axis at most once")
    }
    return indices
  }

  /// The shape after reducing over `axes` (indices from 0).
  public func reducing(_ axes: [Int], keepDims: Bool) -> Shape {
    if keepDims {
      return Shape(dimensions.enumerated().map { axes.contains($0.offset) ? 1 : $0.element })
    }
    return Shape(dimensions.enumerated().filter { !axes.contains($0.offset) }.map(\.element))
  }
}

/// Every integer, for range expressions to be completed by: with an axis's own positions, a range that
/// starts beyond them would trap.
package struct EveryPosition: Collection {
  package init() {}
  package var startIndex: Int { .min }
  package var endIndex: Int { .max }
  package subscript(position: Int) -> Int { position }
  package func index(after index: Int) -> Int { index == .max ? .max : index + 1 }

  /// The positions of `range` along an axis of that extent, ends that are left out completed.
  ///
  /// - Throws: `invalidArgument` for a range that leaves the axis, with the words `what` for it.
  package static func positions(
    _ range: some RangeExpression<Int>, of extent: Int, _ what: @autoclosure () -> String
  ) throws -> Range<Int> {
    let open = range.relative(to: EveryPosition())
    let low = open.lowerBound == .min ? 0 : open.lowerBound
    let high = open.upperBound == .max ? extent : open.upperBound
    guard low >= 0, high <= extent, low <= high else {
      throw ApusError(
        .invalidArgument, "range \(low)..<\(high) leaves \(what())",
        expected: "a range within \(0..<extent)")
    }
    return low..<high
  }
}
