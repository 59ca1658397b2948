// A number for all spatial axes, or one for each.

/// What a window is told of its axes: one number for all of them, or a list of one an axis.
///
///     maxPool(x, 2)                       // [2, 2] over [n, h, w, c]
///     maxPool(x, [3, 2], stride: [2, 1])
public struct PerAxis: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral,
  CustomStringConvertible
{
  private let isOne: Bool
  private let values: [Int]

  /// The same for all axes.
  public init(_ value: Int) {
    isOne = true
    values = [value]
  }
  /// One number an axis.
  public init(_ values: [Int]) {
    isOne = false
    self.values = values
  }
  public init(integerLiteral value: Int) { self.init(value) }
  public init(arrayLiteral values: Int...) { self.init(values) }

  public var description: String { isOne ? "\(values[0])" : "\(values)" }

  /// The numbers of `count` axes; of a list, those it has.
  package func numbers(_ count: Int) -> [Int] {
    isOne ? Array(repeating: values[0], count: count) : values
  }
}
