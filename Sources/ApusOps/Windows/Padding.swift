// How much padding a user asks for.

import ApusGraph

/// What stands around an image before a window moves over it.
///
///     conv2d(x, weight, padding: 1)               // one pixel on every side
///     conv2d(x, weight, padding: .same)           // a result of ⌈extent / stride⌉
///     conv2d(x, weight, padding: .each([1, 2]))   // 1 above and below, 2 left and right
public struct Padding: Sendable, Hashable, ExpressibleByIntegerLiteral, CustomStringConvertible {
  private enum Kind: Hashable {
    case same
    case all(Int)
    case sides(before: [Int], after: [Int])
  }
  private let kind: Kind

  private init(_ kind: Kind) { self.kind = kind }

  /// So many elements on both sides of every axis.
  public init(integerLiteral value: Int) { self.init(.all(value)) }

  /// None: the window stays within the image.
  public static let valid = Padding(.all(0))
  /// So much that the result has ⌈extent / stride⌉ elements along each axis; an odd number has its larger
  /// half after the image. With a stride of 1 this is PyTorch's `"same"`, with any stride TensorFlow's.
  public static let same = Padding(.same)
  /// So many elements on both sides of every axis.
  public static func all(_ count: Int) -> Padding { Padding(.all(count)) }
  /// For each axis, so many elements on both sides.
  public static func each(_ counts: [Int]) -> Padding {
    Padding(.sides(before: counts, after: counts))
  }
  /// For each axis, elements before the first and after the last one.
  public static func sides(before: [Int], after: [Int]) -> Padding {
    Padding(.sides(before: before, after: after))
  }

  public var description: String {
    switch kind {
    case .same: "same"
    case .all(let count): "\(count)"
    case .sides(let before, let after): before == after ? "\(before)" : "\(before) and \(after)"
    }
  }

  /// The padded window over an image of these spatial extents.
  ///
  /// - `strides`, `dilations`: one number for all axes, or one an axis.
  /// - Throws: `invalidArgument` where a number does not go with the axes.
  package func window(
    _ sizes: [Int], strides: [Int] = [1], dilations: [Int] = [1], over image: [Int], _ name: String
  ) throws -> Window {
    func each(_ values: [Int]) -> [Int] {
      values.count == 1 ? Array(repeating: values[0], count: sizes.count) : values
    }
    let (strides, dilations) = (each(strides), each(dilations))
    func window(_ before: [Int], _ after: [Int]) -> Window {
      Window(sizes, strides: strides, dilations: dilations, before: before, after: after)
    }
    switch kind {
    case .all(let count): return window(each([count]), each([count]))
    case .sides(let before, let after): return window(each(before), each(after))
    case .same:
      let bare = window(each([0]), each([0]))
      try bare.check(name)
      let totals = (0..<min(image.count, sizes.count)).map { axis in
        let outputs = (image[axis] + strides[axis] - 1) / strides[axis]
        return max((outputs - 1) * strides[axis] + bare.span(axis) - image[axis], 0)
      }
      return window(totals.map { $0 / 2 }, totals.map { $0 - $0 / 2 })
    }
  }
}
