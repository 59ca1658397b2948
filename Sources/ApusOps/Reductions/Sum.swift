// Sums and means over axes.

import ApusGraph

/// `y = Σ x` over `axes`.
package struct Sum: ReductionOp {
  package static let mnemonic = "sum"
  package static let identity = 0.0
  package static let integerIdentity: Int64 = 0
  package static let isGrowing = true
  package let axes: [Int]
  package let keepDims: Bool

  package init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  package func combine(_ a: Double, _ b: Double) -> Double { a + b }
  package func combine(_ a: Int64, _ b: Int64) -> Int64 { a &+ b }

  // Every summand has derivative 1: the gradient is repeated along the folded axes.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [unfolded(context.gradient, to: context.operands[0].shape)]
  }
}

extension Tensor {
  /// The sum over `axes`, all of them by default. Integers and bools are summed as `i64`.
  ///
  ///     x.sum(axes: [0])   // f32[64,10] → f32[10]
  public func sum(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    summable(sourceLocation(file, line))
      .reduce(axes, file, line) { Sum(axes: $0, keepDims: keepDims) }
  }

  /// The mean over `axes`, all of them by default; NaN where there is nothing to average. Of 16-bit floats
  /// it is computed in `f32`.
  public func mean(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    guard dtype.isFloat else {
      return .poisoned(
        ApusError(
          .dtypeMismatch, "mean: not defined for \(type)", expected: "floats: cast the tensor first"
        ),
        like: self, location: sourceLocation(file, line))
    }
    return located(file, line) {
      // A sum of 16-bit floats, or the number of them, may be none, where the mean is one.
      guard dtype.isHalf else {
        return sum(axes: axes, keepDims: keepDims, file: file, line: line)
          / Double(foldedCount(axes))
      }
      return cast(to: .f32).mean(axes: axes, keepDims: keepDims, file: file, line: line)
        .cast(to: dtype)
    }
  }
}
