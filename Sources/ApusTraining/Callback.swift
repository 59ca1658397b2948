// Who listens to a run of training, and may end it.

import ApusData
import ApusGraph
import ApusNN

/// What happens in a run of training.
public enum TrainingEvent: Sendable {
  /// `epoch` counts from 0 within this call of `fit`.
  case epochBegan(epoch: Int, of: Int, batches: Int)
  /// `step` counts the batches of the epoch, from 1 on; where several share an update, the event is the update's.
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
  /// The learning rates of the last step: that of the optimiser, `*`, and those of groups by their patterns. None
  /// where the run does not know; the default.
  var learningRates: [(name: String, rate: Double)] { get }
  /// The model that is trained.
  var trainedModel: any Module { get }
  /// Writes the model's weights.
  func save(_ path: String) throws
  /// Writes all that a resumed run needs.
  func saveCheckpoint(_ path: String, metadata: [String: String]) throws
}

extension TrainingRun {
  public var learningRates: [(name: String, rate: Double)] { [] }
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
  /// Batches that changed nothing since the loss or a gradient was not finite: ``NonFinitePolicy/skip``.
  public var skipped: Int

  public init(
    epoch: Int, steps: Int, seconds: Double, training: StepResult, validation: StepResult?,
    skipped: Int = 0
  ) {
    self.epoch = epoch
    self.steps = steps
    self.seconds = seconds
    self.training = training
    self.validation = validation
    self.skipped = skipped
  }

  public var stepsPerSecond: Double { Double(steps) / max(seconds, 1e-9) }
}
