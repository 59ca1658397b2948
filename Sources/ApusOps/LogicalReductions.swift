// Whether any or all bools along axes hold. Neither has a gradient.

import ApusGraph

/// Whether any element along `axes` is true; false where there is none.
public struct ReduceAny: ReductionOp {
  public static let mnemonic = "reduce_any"
  public static let identity = 0.0
  public static let foldsBools = true
  public let axes: [Int]
  public let keepDims: Bool

  public init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  public func combine(_ a: Double, _ b: Double) -> Double { max(a, b) }
  public func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
}

/// Whether all elements along `axes` are true; true where there is none.
public struct ReduceAll: ReductionOp {
  public static let mnemonic = "reduce_all"
  public static let identity = 1.0
  public static let foldsBools = true
  public let axes: [Int]
  public let keepDims: Bool

  public init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  public func combine(_ a: Double, _ b: Double) -> Double { min(a, b) }
  public func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
}

extension Tensor {
  /// Whether any element over `axes`, all by default, is true (not 0, for numbers).
  public func any(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    cast(to: .bool, file: file, line: line)
      .reduce(axes, file, line) { ReduceAny(axes: $0, keepDims: keepDims) }
  }

  /// Whether all elements over `axes`, all by default, are true (not 0, for numbers).
  public func all(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    cast(to: .bool, file: file, line: line)
      .reduce(axes, file, line) { ReduceAll(axes: $0, keepDims: keepDims) }
  }
}
