// Whether any or all bools along axes hold. Neither has a gradient.

import ApusGraph

/// Whether any element along `axes` is true; false where there is none.
package struct ReduceAny: ReductionOp {
  package static let mnemonic = "reduce_any"
  package static let identity = 0.0
  package static let integerIdentity: Int64 = 0
  package static let foldsBools = true
  package let axes: [Int]
  package let keepDims: Bool

  package init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  package func combine(_ a: Double, _ b: Double) -> Double { max(a, b) }
  package func combine(_ a: Int64, _ b: Int64) -> Int64 { a | b }
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
}

/// Whether all elements along `axes` are true; true where there is none.
package struct ReduceAll: ReductionOp {
  package static let mnemonic = "reduce_all"
  package static let identity = 1.0
  package static let integerIdentity: Int64 = 1
  package static let foldsBools = true
  package let axes: [Int]
  package let keepDims: Bool

  package init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  package func combine(_ a: Double, _ b: Double) -> Double { min(a, b) }
  package func combine(_ a: Int64, _ b: Int64) -> Int64 { a & b }
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
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
