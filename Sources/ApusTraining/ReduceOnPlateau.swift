// A learning rate that falls once the loss does not.

import ApusGraph
import ApusNN
import Foundation
import Synchronization

/// A callback whose state a trainer's checkpoint holds, so that a run that is resumed goes on as the one that was
/// interrupted would have.
///
/// `fit` lets such callbacks hear of an event before the others: what they make of an epoch is in a checkpoint that
/// is written after it.
public protocol ResumableCallback: Callback {
  /// What the checkpoint calls it. Of several of one name the order in `fit` decides.
  var checkpointName: String { get }
  /// All that it remembers.
  var state: [String: Double] { get }
  /// Goes on from what it remembered.
  ///
  /// - Throws: where that makes no sense.
  func restore(_ state: [String: Double]) throws
}

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

  private let metric: String?
  private let goal: EarlyStopping.Goal
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
    self.metric = metric == "loss" ? nil : metric
    self.goal = goal
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
        .nonFinite, "ReduceOnPlateau: \(metric ?? "loss") is NaN", expected: "a number")
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
    switch (threshold, goal) {
    case (.relative(let part), .smaller): return value < best * (1 - part)
    case (.relative(let part), .larger): return value > best * (1 + part)
    case (.absolute(let margin), .smaller): return value < best - margin
    case (.absolute(let margin), .larger): return value > best + margin
    }
  }

  /// - Throws: `missing` before the first step where epochs will have no such metric; as ``note(_:)``.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan:
      if let metric, !run.summaryMetrics.contains(metric) { throw missing(metric, run) }
    case .epochEnded(let summary):
      let result = summary.validation ?? summary.training
      guard let value = metric.map({ result[$0] }) ?? result.loss else {
        throw missing(metric ?? "loss", run)
      }
      try note(value)
    default: break
    }
    return .goOn
  }

  private func missing(_ metric: String, _ run: any TrainingRun) -> ApusError {
    ApusError(
      .missing, "ReduceOnPlateau looks at '\(metric)', which epochs will not have",
      expected: "one of \((["loss"] + run.summaryMetrics).joined(separator: ", "))")
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

/// The states of callbacks in a checkpoint's header.
struct CallbackStates {
  static let key = "apus.callbacks"
  /// By name, numbered from the second of a name on.
  private var states: [String: [String: Double]] = [:]

  private static func named(
    _ callbacks: [any Callback]
  ) -> [(name: String, callback: any ResumableCallback)] {
    var counts: [String: Int] = [:]
    return callbacks.compactMap { $0 as? any ResumableCallback }.map { callback in
      let count = counts[callback.checkpointName, default: 0] + 1
      counts[callback.checkpointName] = count
      return (callback.checkpointName + (count == 1 ? "" : "#\(count)"), callback)
    }
  }

  init(of callbacks: [any Callback]) {
    for (name, callback) in Self.named(callbacks) { states[name] = callback.state }
  }

  /// - Throws: `invalidFile` where the header is damaged.
  init(_ metadata: [String: String], at path: String) throws {
    guard let text = metadata[Self.key] else { return }
    do {
      states = try JSONDecoder().decode([String: [String: Double]].self, from: Data(text.utf8))
    } catch {
      throw ApusError(
        .invalidFile, "the checkpoint is damaged: '\(Self.key)' is no JSON of numbers", at: path,
        expected: "what a trainer wrote")
    }
  }

  /// As the header has it; nil where there is nothing to say.
  var text: String? {
    guard !states.isEmpty else { return nil }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return (try? encoder.encode(states)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Gives each callback what was kept under its name.
  func restore(_ callbacks: [any Callback]) throws {
    for (name, callback) in Self.named(callbacks) {
      if let state = states[name] { try callback.restore(state) }
    }
  }
}
