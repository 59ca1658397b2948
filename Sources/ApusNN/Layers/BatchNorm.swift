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
/// A layer whose parameters are frozen uses its running estimates in training too, and keeps them.
///
/// A batch that has one value a channel is an error in training (`invalidArgument`): it has no variance. One
/// that has none leaves the estimates alone.
public struct BatchNorm: Layer, Sendable {
  let scope = Scope()
  /// `[channels]`; nil without `affine`.
  public let weight: Parameter?
  public let bias: Parameter?
  /// `running_mean [channels]`; nil without `tracksStatistics`.
  public let runningMean: Buffer?
  /// `running_var [channels]`.
  public let runningVariance: Buffer?
  /// `num_batches_tracked`, `i64[]`: how often the estimates have moved.
  public let batchCount: Buffer?
  public let channels: Int
  public let epsilon: Double
  /// How far the estimates move towards each batch; nil where they are the mean of all batches.
  public let momentum: Double?

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
    runningMean = tracksStatistics ? Buffer([channels], .zeros) : nil
    runningVariance = tracksStatistics ? Buffer([channels], .ones) : nil
    batchCount = tracksStatistics ? Buffer([], .zeros, dtype: .i64) : nil
  }

  /// Named as in PyTorch, so that its files fit.
  public var parts: [(name: String, value: Any)] {
    [
      ("scope", scope), ("weight", weight as Any), ("bias", bias as Any),
      ("running_mean", runningMean as Any), ("running_var", runningVariance as Any),
      ("num_batches_tracked", batchCount as Any),
    ] + (fault.map { [("momentum", $0)] } ?? [])
  }

  private var fault: ApusError? {
    guard let momentum, !(0...1).contains(momentum) else { return nil }
    return ApusError(
      .invalidArgument, "BatchNorm: momentum is \(momentum)", expected: "0 to 1, or nil")
  }

  /// Whether it has parameters, and all are frozen.
  private var isFrozen: Bool {
    let parameters = [weight, bias].compactMap { $0 }
    return !parameters.isEmpty && parameters.allSatisfy { !$0.isTrainable }
  }

  public func forward(_ x: Tensor) -> Tensor {
    if let mistake = fault ?? mistake(of: x) { return .poisoned(mistake, like: x) }
    let rows = x.shape.dimensions.dropLast().reduce(1) { Shape.product($0, $1) }
    let learns = x.trace.mode == .training && !isFrozen
    if let runningMean, let runningVariance, !learns || rows == 0 {
      return batchNorm(
        x, mean: runningMean.tensor, variance: runningVariance.tensor, gamma: weight?.tensor,
        beta: bias?.tensor, epsilon: epsilon)
    }
    guard rows != 1 else {
      return .poisoned(
        ApusError(
          .invalidArgument, "BatchNorm: \(x.type) has one value a channel, and so no variance",
          expected: "more examples or places in a batch; frozen parameters, or evaluation"),
        like: x)
    }
    let normalized = batchNorm(
      x, gamma: weight?.tensor, beta: bias?.tensor, epsilon: epsilon)
    if learns { track(normalized, rows: rows) }
    return normalized.result
  }

  /// Moves the running estimates.
  private func track(_ batch: BatchNormalized, rows: Int) {
    guard let runningMean, let runningVariance, let batchCount else { return }
    let count = batchCount.tensor + 1
    batchCount.update(to: count)
    let unbiased = batch.variance * (Double(rows) / Double(rows - 1))
    for (running, value) in [(runningMean, batch.mean), (runningVariance, unbiased)] {
      let (old, new) = (running.tensor, value.cast(to: .f32))
      if let momentum {
        running.update(to: old * (1 - momentum) + new * momentum)
      } else {
        running.update(to: old + (new - old) / count.cast(to: .f32))
      }
    }
  }

  private func mistake(of x: Tensor) -> ApusError? {
    guard !x.isPoisoned, x.rank < 2 || x.shape[-1] != channels else { return nil }
    let isChannelsFirst = x.rank > 2 && x.shape[1] == channels
    return ApusError(
      .shapeMismatch, "BatchNorm: \(x.type) for \(channels) channels",
      expected: "[n, …, \(channels)]"
        + (isChannelsFirst
          ? "; read as [n, channels, …] it would fit: move the channels to the end" : ""))
  }
}
