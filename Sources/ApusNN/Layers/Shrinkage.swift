// Activations that make small numbers smaller, and others that PyTorch has as layers.

import ApusGraph
import ApusOps

/// `x` beyond ±λ, 0 between.
public struct HardShrink: Layer, Sendable {
  let scope = Scope()
  public let lambda: Double
  public init(lambda: Double = 0.5) { self.lambda = lambda }
  public func forward(_ x: Tensor) -> Tensor { `where`(abs(x) .> lambda, x, 0) }
}

/// `x` brought nearer to 0 by λ, and 0 where it is nearer than that: what an L1 penalty makes of a least square.
public struct SoftShrink: Layer, Sendable {
  let scope = Scope()
  /// 0 or more, or what records the layer throws `invalidArgument`.
  public let lambda: Double
  public init(lambda: Double = 0.5) { self.lambda = lambda }

  public func forward(_ x: Tensor) -> Tensor {
    guard lambda >= 0, lambda.isFinite else {
      return .poisoned(
        ApusError(
          .invalidArgument, "SoftShrink: lambda is \(lambda)",
          expected: "a finite number, 0 or more"),
        like: x)
    }
    return relu(x - lambda) - relu(-x - lambda)
  }
}

/// `x - tanh(x)`.
public struct TanhShrink: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { x - tanh(x) }
}

/// `x` above a threshold, a fixed value elsewhere.
public struct Threshold: Layer, Sendable {
  let scope = Scope()
  public let threshold: Double
  public let value: Double

  public init(_ threshold: Double, value: Double) {
    self.threshold = threshold
    self.value = value
  }

  public func forward(_ x: Tensor) -> Tensor { `where`(x .> threshold, x, value) }
}

/// Probabilities over the last axis, greatest where `x` is least: the softmax of `-x`.
public struct Softmin: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { softmax(-x, axis: -1) }
}
