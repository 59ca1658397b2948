// Reductions made of other ops: variance, standard deviation, log of a sum of exponentials.
//
// None is an op of its own: each is a few reductions that fuse into loops over the rows. Of 16-bit floats
// all are computed in f32 and rounded once. Norms are in `Norms.swift`.

import ApusGraph

extension Tensor {
  /// The variance over `axes`, all of them by default: `Σ (x - mean)² / (n - correction)`.
  ///
  ///     x.variance(axes: [1])   // f32[64,10] → f32[64]
  ///
  /// Deviations are taken from the mean and then once more from their own mean, so that the rounding of a
  /// large mean costs nothing: equal numbers have a variance of exactly 0. What it costs is three looks at
  /// each element: three passes over memory, or one where a row is folded that is no longer than 1024.
  ///
  /// - `correction`: 1 for the unbiased estimate, PyTorch's default; 0 is NumPy's. NaN or
  ///   infinite where there are no more elements than that. A correction that is NaN is a mistake
  ///   (`invalidArgument`).
  public func variance(
    axes: [Int]? = nil, correction: Double = 1, keepDims: Bool = false,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      guard !correction.isNaN else {
        throw ApusError(
          .invalidArgument, "variance: the correction is NaN", expected: "a number, such as 1")
      }
      return inSingle { x in
        let deviation = x - x.mean(axes: axes, keepDims: true, file: file, line: line)
        // Mathematically 0, and so are all its derivatives.
        let rest = deviation.mean(axes: axes, keepDims: true, file: file, line: line)
          .stopGradient(file: file, line: line)
        let squares = square(deviation - rest, file: file, line: line)
        return squares.sum(axes: axes, keepDims: keepDims, file: file, line: line)
          / Swift.max(Double(foldedCount(axes)) - correction, 0)
      }
    }
  }

  /// The standard deviation over `axes`, all of them by default: the root of `variance`. Where that is 0 the
  /// gradient is 0.
  ///
  ///     x.std(axes: [0], correction: 0)   // f32[64,10] → f32[10]
  public func std(
    axes: [Int]? = nil, correction: Double = 1, keepDims: Bool = false,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      inSingle { x in
        x.variance(axes: axes, correction: correction, keepDims: keepDims, file: file, line: line)
          .rootedFromZero { sqrt($0, file: file, line: line) }
      }
    }
  }

  /// `ln Σ eˣ` over `axes`, all of them by default, without overflow: the greatest element is taken
  /// out first. -∞ of no element, and of elements that are all -∞, whose gradient is 0.
  ///
  ///     logits.logsumexp(axes: [-1])   // f32[64,10] → f32[64]
  public func logsumexp(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let folded = try shape.normalized(axes: axes)
      let reduced = shape.reducing(folded, keepDims: keepDims)
      guard type.count > 0 || reduced.count == 0 else {
        return trace.full(reduced, -.infinity, dtype, file: file, line: line)
      }
      return inSingle { x in
        let greatest = x.max(axes: folded, keepDims: true, file: file, line: line)
        // Where all are -∞, or one is +∞, the difference would be NaN.
        let isNumber = isFinite(greatest, file: file, line: line)
        let shift = `where`(isNumber, greatest, 0, file: file, line: line)
          .stopGradient(file: file, line: line)
        let sum = exp(x - shift, file: file, line: line)
          .sum(axes: folded, keepDims: true, file: file, line: line)
        // Where all are -∞: the logarithm's infinite slope must not be met.
        let isNothing = sum .== 0
        let safe = `where`(isNothing, 1, sum, file: file, line: line)
        let logarithm = `where`(isNothing, -.infinity, log(safe, file: file, line: line))
        let result = logarithm + shift
        return keepDims ? result : result.reshaped(reduced, file: file, line: line)
      }
    }
  }

  /// What `body` makes of this tensor, computed in f32 where it is of 16-bit floats.
  func inSingle(_ body: (Tensor) throws -> Tensor) rethrows -> Tensor {
    dtype.isHalf ? try body(cast(to: .f32)).cast(to: dtype) : try body(self)
  }

  /// A root of what is 0 or more, and 0 at 0, where the root's infinite slope must not be met.
  func rootedFromZero(_ root: (Tensor) -> Tensor) -> Tensor {
    let isZero = self .== 0
    return `where`(isZero, 0, root(`where`(isZero, 1, self)))
  }
}
