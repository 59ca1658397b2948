// Normalisations of single examples by channels.

import ApusGraph
import ApusOps

/// Each example's channels of `[n, …, channels]` normalised in groups, over the group's channels and all
/// places, then scaled and shifted channel by channel: Wu & He 2018.
///
///     let norm = GroupNorm(8, 64)   // 8 groups of 8 channels
public struct GroupNorm: Layer, Sendable {
  let scope = Scope()
  /// `[channels]`; nil without `affine`.
  public let weight: Parameter?
  public let bias: Parameter?
  public let groups: Int
  public let channels: Int
  public let epsilon: Double

  /// - `groups`: a divisor of `channels`.
  /// - `epsilon`: added to the variance, 0 or more.
  public init(_ groups: Int, _ channels: Int, epsilon: Double = 1e-5, affine: Bool = true) {
    self.groups = groups
    self.channels = channels
    self.epsilon = epsilon
    weight = affine ? Parameter([channels], .ones) : nil
    bias = affine ? Parameter([channels], .zeros) : nil
  }

  public func forward(_ x: Tensor) -> Tensor {
    if let mistake = x.mistake(ofChannels: channels, "GroupNorm") {
      return .poisoned(mistake, like: x)
    }
    return groupNorm(
      x, groups: groups, gamma: weight?.tensor, beta: bias?.tensor, epsilon: epsilon)
  }
}

/// Each channel of each example of `[n, …, channels]` normalised over all places: Ulyanov, Vedaldi &
/// Lempitsky 2016.
///
///     let norm = InstanceNorm(64)
///
/// As with PyTorch it has neither parameters nor running estimates unless told. Estimates are of the means over
/// the examples; in evaluation, and where they are frozen, they stand in the place of the example's own. An image
/// that has one place is an error where its own statistics are used (`invalidArgument`): it has no variance.
public struct InstanceNorm: Layer, Sendable {
  let scope = Scope()
  /// `[channels]`; nil without `affine`.
  public let weight: Parameter?
  public let bias: Parameter?
  private let estimates: RunningMoments?
  public let channels: Int
  public let epsilon: Double

  /// `running_mean [channels]`; nil without `tracksStatistics`.
  public var runningMean: Buffer? { estimates?.mean }
  /// `running_var [channels]`.
  public var runningVariance: Buffer? { estimates?.variance }

  /// - `momentum`: from 0 to 1; nil for the mean of all batches.
  public init(
    _ channels: Int, epsilon: Double = 1e-5, momentum: Double? = 0.1, affine: Bool = false,
    tracksStatistics: Bool = false
  ) {
    self.channels = channels
    self.epsilon = epsilon
    weight = affine ? Parameter([channels], .ones) : nil
    bias = affine ? Parameter([channels], .zeros) : nil
    estimates = tracksStatistics ? RunningMoments(channels, momentum: momentum) : nil
  }

  /// Named as in PyTorch, so that its files fit.
  public var parts: [(name: String, value: Any)] {
    [("scope", scope), ("weight", weight as Any), ("bias", bias as Any)]
      + (estimates?.parts ?? [])
  }

  public func forward(_ x: Tensor) -> Tensor {
    let mistake = estimates?.fault ?? x.mistake(ofChannels: channels, "InstanceNorm")
    if let mistake { return .poisoned(mistake, like: x) }
    if let estimates, x.trace.mode == .evaluation || estimates.isFrozen {
      return batchNorm(
        x, mean: estimates.mean.tensor, variance: estimates.variance.tensor, gamma: weight?.tensor,
        beta: bias?.tensor, epsilon: epsilon)
    }
    let axes = Array(1..<max(x.rank - 1, 1))
    let places = axes.reduce(1) { Shape.product($0, x.shape[$1]) }
    guard places != 1 || x.shape[0] == 0 else {
      return .poisoned(
        ApusError(
          .invalidArgument, "InstanceNorm: \(x.type) has one place an example, and so no variance",
          expected: "images of more pixels"), like: x)
    }
    if let estimates, x.shape[0] > 0, places > 1 {
      let wide = x.cast(to: .f32)
      estimates.move(
        towards: wide.mean(axes: axes).mean(axis: 0),
        wide.variance(axes: axes).mean(axis: 0))
    }
    return instanceNorm(x, gamma: weight?.tensor, beta: bias?.tensor, epsilon: epsilon)
  }
}
