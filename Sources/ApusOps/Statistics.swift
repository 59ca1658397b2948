// Reductions made of other ops: variance, standard deviation, norms, log of a sum of exponentials.
//
// None is an op of its own: each is a few reductions that fuse into loops over the rows.

import ApusGraph

extension Tensor {
  /// The variance over `axes`, all of them by default: `Σ (x - mean)² / (n - correction)`, in two passes
  /// so that a large mean costs no digits.
  ///
  ///     x.variance(axes: [1])   // f32[64,10] → f32[64]
  ///
  /// - `correction`: 1 for the unbiased estimate, PyTorch's default; 0 is NumPy's. NaN or
  ///   infinite where there are no more elements than that.
  public func variance(
    axes: [Int]? = nil, correction: Double = 1, keepDims: Bool = false,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let mean = mean(axes: axes, keepDims: true, file: file, line: line)
    let squares = square(self - mean).sum(axes: axes, keepDims: keepDims, file: file, line: line)
    return squares / Swift.max(Double(foldedCount(axes)) - correction, 0)
  }

  /// The standard deviation over `axes`, all of them by default: the root of `variance`.
  public func std(
    axes: [Int]? = nil, correction: Double = 1, keepDims: Bool = false,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    sqrt(
      variance(
        axes: axes, correction: correction, keepDims: keepDims, file: file, line: line))
  }

  /// `ln Σ eˣ` over `axes`, all of them by default, without overflow: the greatest element is taken
  /// out first.
  public func logsumexp(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let greatest = max(axes: axes, keepDims: true, file: file, line: line)
    // Where all are -∞, or one is +∞, the difference would be NaN.
    let shift = `where`(isFinite(greatest), greatest, 0).stopGradient()
    let sum = exp(self - shift).sum(axes: axes, keepDims: true, file: file, line: line)
    let result = log(sum) + shift
    guard !keepDims, let axes = try? shape.normalized(axes: axes) else { return result }
    return result.reshaped(shape.reducing(axes, keepDims: false))
  }

  /// The norm over `axes`, all of them by default, that is, of the elements as one vector:
  /// `(Σ |x|ᵖ)^(1/p)` with `p = order`; 1, 2 (the default) and infinity have their own ways. The gradient
  /// of the 2-norm at 0 is 0.
  public func norm(
    order: Double = 2, axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    func sum(_ x: Tensor) -> Tensor {
      x.sum(axes: axes, keepDims: keepDims, file: file, line: line)
    }
    switch order {
    case 1: return sum(abs(self))
    case 2:
      let squares = sum(square(self))
      let isZero = equal(squares, 0)
      return `where`(isZero, 0, sqrt(`where`(isZero, 1, squares)))
    case .infinity: return abs(self).max(axes: axes, keepDims: keepDims, file: file, line: line)
    default: return pow(sum(pow(abs(self), order)), 1 / order)
    }
  }
}
