// How a window moves over the spatial axes of an image: what convolutions and pooling have in common.

import ApusGraph

/// A window over the spatial axes of `[n, spatial…, channels]`: one number an axis in each list.
///
/// Place `o` of the result reads the elements `o · stride - before + t · dilation` of the image, for
/// `t` in `0..<size`; those outside the image are padding.
package struct Window: Sendable, Hashable {
  package let sizes: [Int]
  package let strides: [Int]
  package let dilations: [Int]
  /// Padding before the first and after the last element of each axis.
  package let before: [Int]
  package let after: [Int]

  /// - `strides`, `dilations`: nil for 1 everywhere. `before`, `after`: nil for no padding.
  package init(
    _ sizes: [Int], strides: [Int]? = nil, dilations: [Int]? = nil, before: [Int]? = nil,
    after: [Int]? = nil
  ) {
    let ones = Array(repeating: 1, count: sizes.count)
    let none = Array(repeating: 0, count: sizes.count)
    self.sizes = sizes
    self.strides = strides ?? ones
    self.dilations = dilations ?? ones
    self.before = before ?? none
    self.after = after ?? before ?? none
  }

  /// The window of an op with these attributes.
  package init(attributes: AttributeReader) throws {
    self.init(
      try attributes.ints("sizes"), strides: try attributes.ints("strides"),
      dilations: try attributes.ints("dilations"), before: try attributes.ints("before"),
      after: try attributes.ints("after"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("sizes", .ints(sizes)), Attribute("strides", .ints(strides)),
      Attribute("dilations", .ints(dilations)), Attribute("before", .ints(before)),
      Attribute("after", .ints(after)),
    ]
  }

  package var rank: Int { sizes.count }
  /// Elements of one window.
  package var count: Int { sizes.reduce(1) { Shape.product($0, $1) } }

  /// Elements that a window spans along an axis, gaps included.
  package func span(_ axis: Int) -> Int { (sizes[axis] - 1) * dilations[axis] + 1 }

  /// Throws where a list is not one number an axis, or a number is none that a window can have.
  ///
  /// - `name`: of the op, for the message.
  package func check(_ name: String) throws {
    for (what, values, least) in [
      ("strides", strides, 1), ("dilations", dilations, 1), ("padding", before, 0),
      ("padding", after, 0), ("window", sizes, 1),
    ] {
      guard values.count == rank else {
        throw ApusError(
          .invalidArgument, "\(name): \(what) \(values) for \(rank) spatial axes",
          expected: "one number an axis")
      }
      // Below the bound no sum or product of two of them overflows.
      guard values.allSatisfy({ (least...Self.mostExtent).contains($0) }) else {
        throw ApusError(
          .invalidArgument, "\(name): \(what) \(values)",
          expected: "numbers from \(least) to \(Self.mostExtent)")
      }
    }
  }

  /// The extents of the result over an image of these spatial extents.
  ///
  /// - `roundsUp`: whether a last window may reach beyond the padding, as long as it starts within the
  ///   image or the padding before it (PyTorch's `ceil_mode`).
  /// - Throws: `invalidArgument` as `check` does; `shapeMismatch` where the window is larger than the padded
  ///   image.
  package func outputs(
    _ image: [Int], roundsUp: Bool = false, _ name: String
  ) throws -> [Int] {
    try check(name)
    guard image.count == rank else {
      throw ApusError(
        .shapeMismatch, "\(name): a window of \(rank) axes over an image of extents \(image)",
        expected: "[n, \(rank) spatial axes, channels]")
    }
    return try (0..<rank).map { axis in
      let padded = before[axis] + image[axis] + after[axis]
      let room = padded - span(axis)
      guard image[axis] <= Self.mostExtent, room >= 0 else {
        throw ApusError(
          .shapeMismatch,
          "\(name): a window that spans \(span(axis)) over an image of extents \(image), which has "
            + "\(padded) elements along axis \(axis) with its padding",
          expected: "a window no larger than the padded image")
      }
      var count = room / strides[axis] + 1
      if roundsUp, room % strides[axis] != 0, count * strides[axis] < before[axis] + image[axis] {
        count += 1
      }
      return count
    }
  }

  /// The steps of the window along an axis that meet the image at place `output`.
  package func steps(_ output: Int, _ extent: Int, axis: Int) -> Range<Int> {
    let start = output * strides[axis] - before[axis]
    let d = dilations[axis]
    let first = start >= 0 ? 0 : (-start + d - 1) / d
    let end = start >= extent ? 0 : (extent - start + d - 1) / d
    let last = min(end, sizes[axis])
    return min(first, last)..<last
  }

  /// Sizes, strides, paddings and images are smaller, so that arithmetic with them does not overflow.
  private static let mostExtent = 1 << 30
}
