// Batch normalisation, with running statistics.

import ApusGraph
import ApusOps

/// `y = (x - mean) / √(variance + ε) · weight + bias` for each channel of `[n, …, channels]`, over all other
/// axes: Ioffe & Szegedy 2015. One layer for rows, sequences, images and volumes.
///
///     let block = Sequential { Linear(64, 64, bias: false); BatchNorm(64); ReLU() }
///
/// In training, mean and variance are those of the batch, and the running estimates move towards them; in
/// evaluation the running estimates stand in their place. Which it is the step says, not the layer. As with
/// PyTorch, the running variance is the unbiased one, `Σ (x - mean)² / (R - 1)` of R values a channel. A layer
/// that is applied twice in a step moves its estimates twice, in order.
///
/// A layer whose parameters are frozen, or whose estimates are, uses its running estimates in training too, and
/// keeps them:
///
///     model.norm.freeze()                  // all of it, also one without weight and bias
///     try model.freeze("*.running_*")      // weight and bias go on learning
///
/// A batch that has one value a channel is an error in training (`invalidArgument`): it has no variance. One
/// that has none leaves the estimates alone.
public struct BatchNorm: Layer, Sendable {
  let scope = Scope()
  /// `[channels]`; nil without `affine`.
  public let weight: Parameter?
  public let bias: Parameter?
  private let estimates: RunningMoments?
  public let channels: Int
  public let epsilon: Double
  /// How far the estimates move towards each batch; nil where they are the mean of all batches.
  public let momentum: Double?

  /// `running_mean [channels]`; nil without `tracksStatistics`.
  public var runningMean: Buffer? { estimates?.mean }
  /// `running_var [channels]`.
  public var runningVariance: Buffer? { estimates?.variance }
  /// `num_batches_tracked`, `i64[]`: how often the estimates have moved.
  public var batchCount: Buffer? { estimates?.count }

  /// - `channels`: the extent of the last axis.
  /// - `epsilon`: added to the variance, 0 or more.
  /// - `momentum`: from 0 to 1. The new estimate is `(1 - momentum) · old + momentum · batch`; nil for the
  ///   mean of all batches so far. Another number is thrown by what initialises or records the layer.
  /// - `affine`: whether it has a weight and a bias.
  /// - `tracksStatistics`: whether it keeps estimates; without them evaluation uses the batch's own.
  public init(
    _ channels: Int, epsilon: Double = 1e-5, momentum: Double? = 0.1, affine: Bool = true,
    tracksStatistics: Bool = true
  ) {
    self.channels = channels
    self.epsilon = epsilon
    self.momentum = momentum
    weight = affine ? Parameter([channels], .ones) : nil
    bias = affine ? Parameter([channels], .zeros) : nil
    estimates = tracksStatistics ? RunningMoments(channels, momentum: momentum) : nil
  }

  /// Named as in PyTorch, so that its files fit.
  public var parts: [(name: String, value: Any)] {
    [("scope", scope), ("weight", weight as Any), ("bias", bias as Any)]
      + (estimates?.parts ?? [])
  }

  /// Whether its estimates are frozen, or it has parameters and all are.
  private var isFrozen: Bool {
    if let estimates, estimates.isFrozen { return true }
    let parameters = [weight, bias].compactMap { $0 }
    return !parameters.isEmpty && parameters.allSatisfy { !$0.isTrainable }
  }

  public func forward(_ x: Tensor) -> Tensor {
    let mistake = estimates?.fault ?? x.mistake(ofChannels: channels, "BatchNorm")
    if let mistake { return .poisoned(mistake, like: x) }
    let rows = x.shape.dimensions.dropLast().reduce(1) { Shape.product($0, $1) }
    let learns = x.trace.mode == .training && !isFrozen
    if let estimates, !learns || rows == 0 {
      return batchNorm(
        x, mean: estimates.mean.tensor, variance: estimates.variance.tensor, gamma: weight?.tensor,
        beta: bias?.tensor, epsilon: epsilon)
    }
    guard rows != 1 else {
      return .poisoned(
        ApusError(
          .invalidArgument, "BatchNorm: \(x.type) has one value a channel, and so no variance",
          expected: "more examples or places in a batch; a frozen layer, or evaluation"),
        like: x)
    }
    let normalized = batchNorm(
      x, gamma: weight?.tensor, beta: bias?.tensor, epsilon: epsilon)
    if learns {
      estimates?.move(
        towards: normalized.mean, normalized.variance * (Double(rows) / Double(max(rows - 1, 1))))
    }
    return normalized.result
  }
}
