// Norms over axes, right wherever the element type holds the result.

import ApusGraph

extension Tensor {
  /// The norm over `axes`, all of them by default, that is, of the elements as one vector:
  /// `(Σ |x|ᵖ)^(1/p)` with `p = order`; 1, 2 (the default) and infinity have their own ways, and minus
  /// infinity gives the least absolute value.
  ///
  ///     x.norm(axes: [-1])             // f32[64,10] → f32[64]
  ///     x.norm(order: 1, axes: [-1])   // sums of absolute values
  ///
  /// Elements are scaled meanwhile, so that no power leaves the range of the type: the norm of `[1e20, 1]` is
  /// 1e20. The gradient of a norm at 0 is 0, and so is that for an element that is 0 where its slope would be
  /// infinite (an order below 1). An order below 0 gives 0 where an element is 0, and the gradient is 0.
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
      let folded = try shape.normalized(axes: axes)
      let reduced = shape.reducing(folded, keepDims: keepDims)
      return inSingle { x in
        let magnitudes = abs(x, file: file, line: line)
        switch order {
        case 1: return magnitudes.sum(axes: folded, keepDims: keepDims, file: file, line: line)
        case .infinity:
          return magnitudes.max(axes: folded, keepDims: keepDims, file: file, line: line)
        case -.infinity:
          return magnitudes.min(axes: folded, keepDims: keepDims, file: file, line: line)
        case _ where x.type.count == 0: return trace.full(reduced, 0, x.dtype)
        case 2 where folded.count == rank: return jointNorm([x]).reshaped(reduced)
        case 2: return x.scaledNorm(folded).reshaped(reduced)
        default: return magnitudes.powerNorm(order, folded).reshaped(reduced)
        }
      }
    }
  }

  /// `√Σ x²` over `axes`, kept, of elements scaled by a power of two, which rounds nothing.
  func scaledNorm(_ axes: [Int]) -> Tensor {
    let exponent = abs(stopGradient()).max(axes: axes, keepDims: true).exponent()
    let scaled = self * exp2(-exponent)
    return square(scaled).sum(axes: axes, keepDims: true).rootedFromZero { sqrt($0) }
      * exp2(exponent)
  }

  /// `(Σ xᵖ)^(1/p)` over `axes`, kept, of magnitudes, which are divided by the greatest, or by the least
  /// where that counts most: one of the powers is 1, and none is more.
  private func powerNorm(_ order: Double, _ axes: [Int]) -> Tensor {
    let still = stopGradient()
    let extreme =
      order > 0
      ? still.max(axes: axes, keepDims: true) : still.min(axes: axes, keepDims: true)
    // An infinite or a zero extreme is the norm itself.
    let isUsual = logicalAnd(extreme .> 0, isFinite(extreme))
    let unit = `where`(isUsual, extreme, 1)
    let ratio = self / unit
    // The slope of a power below 1 is infinite at 0; an order below 0 never meets one here.
    let isZero = logicalOr(ratio .== 0, logicalNot(isUsual))
    let powers = `where`(isZero, 0, pow(`where`(isZero, 1, ratio), order))
    let sum = powers.sum(axes: axes, keepDims: true)
    let root = pow(`where`(isUsual, sum, 1), 1 / order) * unit
    return `where`(isUsual, root, extreme)
  }

  /// The exponents of magnitudes: whole numbers e of -126 to 126 with 2^e at most the number and 2^(e + 1)
  /// at least, about; -126 for 0, 126 for what is not finite. Powers of two of them, and of minus them, are
  /// normal numbers of f32.
  func exponent() -> Tensor { clamp(floor(log2(self)), low: -126, high: 126).stopGradient() }
}
