// Dropping activations at random while training.

import ApusGraph
import ApusOps

/// Sets each element to 0 with probability `p` and scales the others by 1/(1-p), in training only:
/// Srivastava et al. 2014. Each step drops others; equal seeds drop the same.
public struct Dropout: Layer, Sendable {
  let scope = Scope()
  public let p: Double

  public init(_ p: Double = 0.5) { self.p = p }

  public func forward(_ x: Tensor) -> Tensor { x.dropout(p) }
}

/// Dropout that keeps the mean and the variance of what a ``SELU`` gives: dropped elements become SELU's least value, and
/// all are scaled and shifted, in training only. Klambauer et al. 2017, "Self-Normalizing Neural Networks".
public struct AlphaDropout: Layer, Sendable {
  let scope = Scope()
  /// In 0..<1, or what records the layer throws `invalidArgument`.
  public let p: Double

  public init(_ p: Double = 0.5) { self.p = p }

  public func forward(_ x: Tensor) -> Tensor {
    guard (0..<1).contains(p) else {
      return .poisoned(
        ApusError(.invalidArgument, "AlphaDropout: p is \(p)", expected: "0 up to 1"), like: x)
    }
    guard x.trace.mode == .training, p != 0 else { return x }
    // -λα of SELU.
    let least = -1.7580993408473766
    let scale = 1 / ((1 - p) * (1 + p * least * least)).squareRoot()
    let isKept = Tensor.randomBernoulli(x.shape, p: 1 - p)
    return `where`(isKept, x, least) * scale - scale * p * least
  }
}

/// Adds random numbers of a normal distribution, in training only.
public struct GaussianNoise: Layer, Sendable {
  let scope = Scope()
  /// 0 or more, or what records the layer throws `invalidArgument`.
  public let deviation: Double

  public init(_ deviation: Double) { self.deviation = deviation }

  public func forward(_ x: Tensor) -> Tensor {
    guard deviation >= 0, deviation.isFinite else {
      return .poisoned(
        ApusError(
          .invalidArgument, "GaussianNoise: the deviation is \(deviation)",
          expected: "a finite number, 0 or more"), like: x)
    }
    guard x.trace.mode == .training, deviation != 0 else { return x }
    return x + Tensor.randomNormal(x.shape, deviation: deviation, dtype: x.dtype)
  }
}
