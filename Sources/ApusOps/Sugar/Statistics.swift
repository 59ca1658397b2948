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
    located(file, line) {
      let mean = mean(axes: axes, keepDims: true, file: file, line: line)
      let squares = square(self - mean, file: file, line: line)
      return squares.sum(axes: axes, keepDims: keepDims, file: file, line: line)
        / Swift.max(Double(foldedCount(axes)) - correction, 0)
    }
  }

  /// The standard deviation over `axes`, all of them by default: the root of `variance`.
  ///
  ///     x.std(axes: [0], correction: 0)   // f32[64,10] → f32[10]
  public func std(
    axes: [Int]? = nil, correction: Double = 1, keepDims: Bool = false,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    sqrt(
      variance(
        axes: axes, correction: correction, keepDims: keepDims, file: file, line: line),
      file: file, line: line)
  }

  /// `ln Σ eˣ` over `axes`, all of them by default, without overflow: the greatest element is taken
  /// out first.
  ///
  ///     logits.logsumexp(axes: [-1])   // f32[64,10] → f32[64]
  public func logsumexp(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let greatest = max(axes: axes, keepDims: true, file: file, line: line)
      // Where all are -∞, or one is +∞, the difference would be NaN.
      let isNumber = isFinite(greatest, file: file, line: line)
      let shift = `where`(isNumber, greatest, 0, file: file, line: line)
        .stopGradient(file: file, line: line)
      let sum = exp(self - shift, file: file, line: line)
        .sum(axes: axes, keepDims: true, file: file, line: line)
      let result = log(sum, file: file, line: line) + shift
      guard !keepDims, let axes = try? shape.normalized(axes: axes) else { return result }
      return result.reshaped(shape.reducing(axes, keepDims: false), file: file, line: line)
    }
  }

  /// The norm over `axes`, all of them by default, that is, of the elements as one vector:
  /// `(Σ |x|ᵖ)^(1/p)` with `p = order`; 1, 2 (the default) and infinity have their own ways. The gradient
  /// of a norm at 0 is 0.
  ///
  ///     x.norm(axes: [-1])             // f32[64,10] → f32[64]
  ///     x.norm(order: 1, axes: [-1])   // sums of absolute values
  ///
  /// An order of 0 or NaN has no norm: `invalidArgument`.
  public func norm(
    order: Double = 2, axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      guard order != 0, !order.isNaN else {
        throw ApusError(
          .invalidArgument, "norm: the order is \(order)", expected: "1, 2, infinity or another p")
      }
      func sum(_ x: Tensor) -> Tensor {
        x.sum(axes: axes, keepDims: keepDims, file: file, line: line)
      }
      /// The root of the sums; where they are 0, the root's infinite slope must not be met.
      func rooted(_ sums: Tensor, _ root: (Tensor) -> Tensor) -> Tensor {
        let isZero = sums .== 0
        let safe = `where`(isZero, 1, sums, file: file, line: line)
        return `where`(isZero, 0, root(safe), file: file, line: line)
      }
      let magnitudes = abs(self, file: file, line: line)
      switch order {
      case 1: return sum(magnitudes)
      case 2:
        return rooted(sum(square(self, file: file, line: line))) {
          sqrt($0, file: file, line: line)
        }
      case .infinity:
        return magnitudes.max(axes: axes, keepDims: keepDims, file: file, line: line)
      case -.infinity:
        return magnitudes.min(axes: axes, keepDims: keepDims, file: file, line: line)
      default:
        let powers = sum(pow(magnitudes, order, file: file, line: line))
        return rooted(powers) { pow($0, 1 / order, file: file, line: line) }
      }
    }
  }
}
