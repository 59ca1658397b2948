// A learning rate that falls once the loss does not.

import ApusGraph
import ApusNN
import Synchronization

/// A rate that is multiplied by `factor` once the validation loss, or a metric, has not become better for more than
/// `patience` epochs: PyTorch's `ReduceLROnPlateau`.
///
///     let plateau = ReduceOnPlateau(from: 1e-3, patience: 5)
///     let trainer = try Trainer(model, optimizer: Adam(learningRate: plateau.rate)) { … }
///     try trainer.fit(train, validation: test, epochs: 100, callbacks: [ProgressBar(), plateau])
///
/// In a loop of your own, call `note` after each evaluation, keep `state` with your checkpoint and `restore` it. It
/// may be multiplied by another schedule: `plateau.rate.scaled(by: .warmUp(steps: 100, then: 1))`.
public final class ReduceOnPlateau: ResumableCallback, Sendable {
  /// How much better is better.
  public enum Threshold: Sendable, Hashable {
    /// By this part of the best value.
    case relative(Double)
    case absolute(Double)
  }

  private struct Progress {
    var rate: Double
    var best: Double?
    var badEpochs = 0
    var cooldown = 0
  }

  private let metric: WatchedMetric
  private let factor: Double
  private let patience: Int
  private let threshold: Threshold
  private let cooldown: Int
  private let least: Double
  private let progress: Mutex<Progress>
  private let mistake: String?

  /// - `from`: the rate at first.
  /// - `metric`: of the validation, or of training where there is none; nil, or `loss`, for the loss.
  /// - `goal`: which way is better.
  /// - `factor`: in 0..<1.
  /// - `patience`: so many epochs without an improvement change nothing.
  /// - `cooldown`: so many epochs after a change do not count.
  /// - `least`: the rate goes no lower.
  public init(
    from rate: Double, on metric: String? = nil, _ goal: EarlyStopping.Goal = .smaller,
    factor: Double = 0.1, patience: Int = 10, threshold: Threshold = .relative(1e-4),
    cooldown: Int = 0, least: Double = 0
  ) {
    self.metric = WatchedMetric(metric, goal, owner: "ReduceOnPlateau")
    self.factor = factor
    self.patience = patience
    self.threshold = threshold
    self.cooldown = cooldown
    self.least = least
    progress = Mutex(Progress(rate: rate))
    let margin =
      switch threshold {
      case .relative(let margin), .absolute(let margin): margin
      }
    mistake =
      !(rate.isFinite && rate >= 0)
      ? "a rate of \(rate)"
      : !(0..<1).contains(factor)
        ? "a factor of \(factor), which is not in 0..<1"
        : patience < 0 || cooldown < 0
          ? "\(min(patience, cooldown)) epochs"
          : !(margin.isFinite && margin >= 0)
            ? "a threshold of \(margin)"
            : least.isFinite && least >= 0 ? nil : "a least rate of \(least)"
  }

  /// The rate now, for an optimiser.
  public var rate: LearningRate {
    .schedule("reduceOnPlateau") { [self] _ in currentRate }
  }

  /// The rate now.
  public var currentRate: Double { progress.withLock { $0.rate } }

  /// Notes what an epoch came to, and lowers the rate where it is time.
  ///
  /// - Throws: `invalidArgument` for settings that make no sense, `nonFinite` for NaN.
  public func note(_ value: Double) throws {
    if let mistake {
      throw ApusError(
        .invalidArgument, "ReduceOnPlateau: \(mistake)",
        expected: "finite numbers from 0 on, the factor below 1")
    }
    guard !value.isNaN else {
      throw ApusError(
        .nonFinite, "ReduceOnPlateau: \(metric.name ?? "loss") is NaN", expected: "a number")
    }
    progress.withLock { progress in
      if isBetter(value, than: progress.best) {
        progress.best = value
        progress.badEpochs = 0
      } else {
        progress.badEpochs += 1
      }
      if progress.cooldown > 0 {
        progress.cooldown -= 1
        progress.badEpochs = 0
      }
      guard progress.badEpochs > patience else { return }
      let lower = max(progress.rate * factor, least)
      // As PyTorch: a change that small is none.
      if progress.rate - lower > 1e-8 { progress.rate = lower }
      progress.cooldown = cooldown
      progress.badEpochs = 0
    }
  }

  private func isBetter(_ value: Double, than best: Double?) -> Bool {
    guard let best else { return true }
    switch (threshold, metric.goal) {
    case (.relative(let part), .smaller): return value < best * (1 - part)
    case (.relative(let part), .larger): return value > best * (1 + part)
    case (.absolute(let margin), .smaller): return value < best - margin
    case (.absolute(let margin), .larger): return value > best + margin
    }
  }

  /// - Throws: `missing` before the first step where epochs will have no such metric; as ``note(_:)``.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan: try metric.check(run)
    case .epochEnded(let summary): try note(try metric.value(of: summary, in: run))
    default: break
    }
    return .goOn
  }

  // MARK: Checkpoints

  public var checkpointName: String { "ReduceOnPlateau" }

  public var state: [String: Double] {
    progress.withLock { progress in
      var state = [
        "rate": progress.rate, "badEpochs": Double(progress.badEpochs),
        "cooldown": Double(progress.cooldown),
      ]
      if let best = progress.best { state["best"] = best }
      return state
    }
  }

  /// - Throws: `invalidArgument` for what ``state`` cannot have been.
  public func restore(_ state: [String: Double]) throws {
    func count(_ name: String) -> Int? { state[name].flatMap { Int(exactly: $0) } }
    guard let rate = state["rate"], rate.isFinite, rate >= 0, let bad = count("badEpochs"),
      let cooldown = count("cooldown"), (0...1_000_000_000).contains(bad),
      (0...1_000_000_000).contains(cooldown)
    else {
      throw ApusError(
        .invalidArgument, "ReduceOnPlateau cannot go on from \(state)",
        expected: "its own state: rate, badEpochs, cooldown and best")
    }
    progress.withLock {
      $0 = Progress(rate: rate, best: state["best"], badEpochs: bad, cooldown: cooldown)
    }
  }
}
