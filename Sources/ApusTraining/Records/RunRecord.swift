// What is noted of a run while it goes on: numbers, distributions, pictures, texts.

import ApusData
import ApusGraph
import Foundation

/// One entry of a run's record, for a ``RecordWriter``.
///
///     try writer.write([RunRecord("loss/step", step: 120, .scalar(0.35))])
///
/// Tags are TensorBoard's: what stands before the first `/` is the chart, or the group of charts.
public struct RunRecord: Sendable {
  /// What was noted.
  public enum Value: Sendable {
    /// A point of a curve; NaN and infinities are kept as they are.
    case scalar(Double)
    case histogram(RecordHistogram)
    case image(Picture)
    /// Markdown, as TensorBoard shows it.
    case text(String)
    /// What the run was given, and the tags of the scalars that it is judged by.
    case hyperparameters([String: Hyperparameter], metrics: [String])
    /// A recorded step.
    case graph(Graph)
  }

  public var tag: String
  /// Steps of training taken so far.
  public var step: Int
  /// Seconds since 1970.
  public var time: Double
  public var value: Value

  /// - `time`: seconds since 1970; now by default.
  public init(_ tag: String, step: Int, time: Double? = nil, _ value: Value) {
    self.tag = tag
    self.step = step
    self.time = time ?? Self.now
    self.value = value
  }

  /// What a step may be: numbers that doubles count to.
  static let steps = 0..<1 << 53

  static var now: Double { Date().timeIntervalSince1970 }
}

/// A setting of a run, as it is noted.
///
///     let settings: [String: Hyperparameter] = ["rate": 1e-3, "hidden": 128, "nesterov": true, "data": "full"]
public enum Hyperparameter: Sendable, Hashable, CustomStringConvertible, ExpressibleByFloatLiteral,
  ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByStringLiteral
{
  case number(Double)
  case bool(Bool)
  case string(String)

  public init(floatLiteral value: Double) { self = .number(value) }
  public init(integerLiteral value: Int) { self = .number(Double(value)) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(stringLiteral value: String) { self = .string(value) }

  /// The number or bool that a text stands for, or the text: `Hyperparameter(text: "0.1")` is a number.
  public init(text: String) {
    self =
      switch text {
      case "true": .bool(true)
      case "false": .bool(false)
      default: Double(text).flatMap { $0.isFinite ? .number($0) : nil } ?? .string(text)
      }
  }

  public var description: String {
    switch self {
    case .number(let value):
      Int(exactly: value).map { "\($0)" } ?? "\(value)"
    case .bool(let value): "\(value)"
    case .string(let value): value
    }
  }

  var json: JSON {
    switch self {
    case .number(let value): Int(exactly: value).map { .integer($0) } ?? JSON(exactly: value)
    case .bool(let value): .bool(value)
    case .string(let value): .string(value)
    }
  }
}

/// How the elements of an array are distributed: counts in intervals of one width between the least and the greatest.
///
///     let histogram = RecordHistogram(try model.hidden.weight.value())
///     print(histogram.counts, histogram.edges)
public struct RecordHistogram: Sendable, Hashable {
  /// The least and the greatest of the finite elements; 0 where there are none.
  public private(set) var least = 0.0, greatest = 0.0
  /// Of the finite elements.
  public private(set) var count = 0
  public private(set) var sum = 0.0, sumOfSquares = 0.0
  /// Elements of each interval.
  public private(set) var counts: [Int] = []
  /// NaN and infinities, which stand in no interval.
  public private(set) var nonFinite = 0

  /// - `intervals`: from 1 to 1000; another number is taken as the nearer of these. Where all elements are equal, one.
  public init(_ array: NDArray, intervals: Int = 30) {
    let values = array.doubles
    var (low, high) = (Double.infinity, -Double.infinity)
    for value in values where value.isFinite {
      (low, high) = (min(low, value), max(high, value))
      count += 1
      sum += value
      sumOfSquares += value * value
    }
    nonFinite = values.count - count
    guard count > 0 else { return }
    (least, greatest) = (low, high)
    let wanted = low < high ? min(max(intervals, 1), 1000) : 1
    counts = Array(repeating: 0, count: wanted)
    // Halves, so that no width is infinite.
    let width = high / 2 - low / 2
    for value in values where value.isFinite {
      let share = width > 0 ? (value / 2 - low / 2) / width : 0
      counts[min(Int(share * Double(wanted)), wanted - 1)] += 1
    }
  }

  /// The ends of the intervals, one more than there are intervals; none where there are none.
  public var edges: [Double] {
    guard !counts.isEmpty else { return [] }
    let parts = Double(counts.count)
    return counts.indices.map { place in
      let share = Double(place) / parts
      return least * (1 - share) + greatest * share
    } + [greatest]
  }
}
