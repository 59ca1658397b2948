// Who listens to a run of training, and may end it.

import ApusData
import ApusGraph
import ApusNN

/// What happens in a run of training.
public enum TrainingEvent: Sendable {
  /// `epoch` counts from 0 within this call of `fit`.
  case epochBegan(epoch: Int, of: Int, batches: Int)
  /// `step` counts from 1 within the epoch.
  case stepEnded(step: Int, StepResult)
  case epochEnded(EpochSummary)
  /// The call of `fit` ends, for that reason where a callback gave one.
  case ended(reason: String?)
}

/// What a callback wants.
public enum Verdict: Sendable, Hashable {
  case goOn
  /// Ends the run after this event, in order: `fit` returns what it has, and a later `fit` goes on there.
  case stop(String)
}

/// A run of training, as callbacks see it.
public protocol TrainingRun: AnyObject {
  /// Steps taken so far.
  var step: Int { get }
  /// Epochs finished so far.
  var epoch: Int { get }
  /// All epochs finished so far.
  var history: [EpochSummary] { get }
  /// The metrics that an epoch's summary will have: those of its validation, or of its training where there is
  /// none. Known from the first `epochBegan` on.
  var summaryMetrics: [String] { get }
  /// The model that is trained.
  var trainedModel: any Module { get }
  /// Writes the model's weights.
  func save(_ path: String) throws
  /// Writes all that a resumed run needs.
  func saveCheckpoint(_ path: String, metadata: [String: String]) throws
}

/// Hears of the course of training and may end it. Callbacks are values given to `fit`, heard in their order.
///
///     struct Log: Callback {
///       func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
///         if case .epochEnded(let epoch) = event { print(run.step, epoch.training.loss) }
///         return .goOn
///       }
///     }
///
/// One that throws ends `fit` with its error; the epochs so far are in the trainer's `history`.
public protocol Callback {
  func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict
}

/// Ends training once the validation loss, or a metric, has not become better for some epochs.
///
///     try trainer.fit(train, validation: test, epochs: 100, callbacks: [ProgressBar(), EarlyStopping()])
public final class EarlyStopping: Callback {
  /// Which way is better.
  public enum Goal: Sendable { case smaller, larger }

  private let metric: String?
  private let goal: Goal
  private let patience: Int
  private let delta: Double
  private let restoresBest: Bool
  private var best: Double?
  private var epochsSince = 0
  private var snapshot: ModelSnapshot?

  /// - `metric`: of the validation, or of training where there is none; nil, or `loss`, for the loss.
  /// - `patience`: how many epochs without an improvement end the run, the last of them included.
  /// - `delta`: the least change that counts as one.
  /// - `restoresBest`: whether the model gets the values of its best epoch back at the end.
  public init(
    on metric: String? = nil, _ goal: Goal = .smaller, patience: Int = 3, delta: Double = 0,
    restoresBest: Bool = true
  ) {
    self.metric = metric == "loss" ? nil : metric
    self.goal = goal
    self.patience = patience
    self.delta = delta
    self.restoresBest = restoresBest
  }

  /// - Throws: `missing` before the first step where epochs will have no such metric.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan:
      if let metric, !run.summaryMetrics.contains(metric) { throw missing(metric, run) }
      return .goOn
    case .epochEnded(let summary):
      let result = summary.validation ?? summary.training
      let found = metric.map { result[$0] } ?? result.loss
      guard let value = found else { throw missing(metric ?? "loss", run) }
      let gain = best.map { goal == .smaller ? $0 - value : value - $0 } ?? .infinity
      if gain > delta {
        best = value
        epochsSince = 0
        if restoresBest { snapshot = try run.trainedModel.snapshot() }
        return .goOn
      }
      epochsSince += 1
      return epochsSince < patience
        ? .goOn : .stop("no better \(metric ?? "loss") for \(epochsSince) epochs")
    case .ended:
      if let snapshot { try run.trainedModel.restore(snapshot) }
      return .goOn
    default: return .goOn
    }
  }

  private func missing(_ metric: String, _ run: any TrainingRun) -> ApusError {
    ApusError(
      .missing, "EarlyStopping looks at '\(metric)', which epochs will not have",
      expected:
        "one of \((["loss"] + run.summaryMetrics).joined(separator: ", ")); metrics are noted by "
        + "batch.report, and computed over fit's validation or with StepOptions(trainingMetrics: true)"
    )
  }
}

/// What came of one epoch.
public struct EpochSummary: Sendable {
  /// From 0 on, within this call of `fit`.
  public var epoch: Int
  public var steps: Int
  /// Of training, without validation.
  public var seconds: Double
  /// Means over the epoch, while the parameters were changing.
  public var training: StepResult
  public var validation: StepResult?

  public init(
    epoch: Int, steps: Int, seconds: Double, training: StepResult, validation: StepResult?
  ) {
    self.epoch = epoch
    self.steps = steps
    self.seconds = seconds
    self.training = training
    self.validation = validation
  }

  public var stepsPerSecond: Double { Double(steps) / max(seconds, 1e-9) }
}
