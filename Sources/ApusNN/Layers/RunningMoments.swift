// Running estimates of channels' means and variances: what batch and instance normalisation keep.

import ApusGraph
import ApusOps

/// Two buffers that move towards what is seen, and a count of how often they did.
///
/// It is what any module may do: a ``Buffer`` and a call of its `update(to:)`.
struct RunningMoments: Module, Sendable {
  /// `[channels]`, from 0 on.
  let mean: Buffer
  /// `[channels]`, from 1 on.
  let variance: Buffer
  /// `i64[]`.
  let count = Buffer([], .zeros, dtype: .i64)
  /// How far the estimates move; nil where they are the mean of all that was seen.
  let momentum: Double?

  init(_ channels: Int, momentum: Double?) {
    mean = Buffer([channels], .zeros)
    variance = Buffer([channels], .ones)
    self.momentum = momentum
  }

  /// By PyTorch's names, and what is wrong with them.
  var parts: [(name: String, value: Any)] {
    [("running_mean", mean), ("running_var", variance), ("num_batches_tracked", count)]
      + (fault.map { [("momentum", $0)] } ?? [])
  }

  /// Whether they are to stay as they are.
  var isFrozen: Bool { mean.isFrozen && variance.isFrozen }

  var fault: ApusError? {
    guard let momentum, !(0...1).contains(momentum) else { return nil }
    return ApusError(.invalidArgument, "momentum is \(momentum)", expected: "0 to 1, or nil")
  }

  /// - `variance`: the unbiased one.
  func move(towards mean: Tensor, _ variance: Tensor) {
    let seen = count.tensor + 1
    count.update(to: seen)
    for (running, value) in [(self.mean, mean), (self.variance, variance)] {
      let (old, new) = (running.tensor, value.cast(to: .f32))
      if let momentum {
        running.update(to: old * (1 - momentum) + new * momentum)
      } else {
        running.update(to: old + (new - old) / seen.cast(to: .f32))
      }
    }
  }
}

extension Tensor {
  /// What is wrong with this as an input of so many channels, if anything.
  func mistake(ofChannels channels: Int, _ layer: String) -> ApusError? {
    guard !isPoisoned, rank < 2 || shape[-1] != channels else { return nil }
    let isChannelsFirst = rank > 2 && shape[1] == channels
    return ApusError(
      .shapeMismatch, "\(layer): \(type) for \(channels) channels",
      expected: "[n, …, \(channels)]"
        + (isChannelsFirst
          ? "; read as [n, channels, …] it would fit: move the channels to the end" : ""))
  }
}
