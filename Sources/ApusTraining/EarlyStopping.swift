// Ending a run that no longer becomes better, with the best weights.

import ApusGraph
import ApusNN

/// Ends training once the validation loss, or a metric, has not become better for some epochs.
///
///     try trainer.fit(train, validation: test, epochs: 100, callbacks: [ProgressBar(), EarlyStopping()])
///
/// A trainer's checkpoint holds all that it remembers, the values of the best epoch included: a run that is killed
/// and resumed ends after the same epoch as one that is not, with the same bits. Such a checkpoint is larger by the
/// model.
public final class EarlyStopping: ResumableCallback {
  /// Which way is better.
  public enum Goal: Sendable { case smaller, larger }

  private let metric: WatchedMetric
  private let patience: Int
  private let delta: Double
  private let restoresBest: Bool
  private var best: Double?
  private var epochsSince = 0
  private var snapshot: ModelSnapshot?
  /// Whether its memory is a checkpoint's, and no epoch has begun since.
  private var isResumed = false

  /// - `metric`: of the validation, or of training where there is none; nil, or `loss`, for the loss.
  /// - `patience`: how many epochs without an improvement end the run, the last of them included.
  /// - `delta`: the least change that counts as one.
  /// - `restoresBest`: whether the model gets the values of its best epoch back at the end.
  public init(
    on metric: String? = nil, _ goal: Goal = .smaller, patience: Int = 3, delta: Double = 0,
    restoresBest: Bool = true
  ) {
    self.metric = WatchedMetric(metric, goal, owner: "EarlyStopping")
    self.patience = patience
    self.delta = delta
    self.restoresBest = restoresBest
  }

  /// The best value so far, and after how many epochs since then the run stands; nil before the first epoch.
  public var bestValue: (value: Double, epochsAgo: Int)? { best.map { ($0, epochsSince) } }

  /// - Throws: `missing` before the first step where epochs will have no such metric; `missing` or `shapeMismatch`
  ///   where what was resumed is of another model.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan:
      try metric.check(run)
      guard isResumed else { return .goOn }
      isResumed = false
      if let snapshot { try run.trainedModel.requireFit(snapshot) }
      // The run may have been killed between its last epoch and its end.
      return verdict
    case .epochEnded(let summary):
      let value = try metric.value(of: summary, in: run)
      if metric.isBetter(value, than: best, by: delta) {
        best = value
        epochsSince = 0
        if restoresBest { snapshot = try run.trainedModel.snapshot() }
        return .goOn
      }
      epochsSince += 1
      return verdict
    case .ended:
      if let snapshot { try run.trainedModel.restore(snapshot) }
      return .goOn
    case .stepEnded: return .goOn
    }
  }

  private var verdict: Verdict {
    epochsSince > 0 && epochsSince >= patience
      ? .stop("no better \(metric.name ?? "loss") for \(epochsSince) epochs") : .goOn
  }

  // MARK: Checkpoints

  public var checkpointName: String { "EarlyStopping" }

  public var state: [String: Double] {
    var state = ["epochsSince": Double(epochsSince)]
    if let best { state["best"] = best }
    return state
  }

  public var stateArrays: [String: NDArray] { snapshot?.arrays ?? [:] }

  public func stateByteCount(for model: any Module) -> Int {
    restoresBest ? ModelTree(model).states.reduce(0) { $0 + $1.state.type.byteCount } : 0
  }

  /// - Throws: `invalidArgument` for what ``state`` cannot have been.
  public func restore(_ state: [String: Double]) throws {
    guard let since = state["epochsSince"].flatMap({ Int(exactly: $0) }),
      (0...1_000_000_000).contains(since)
    else {
      throw ApusError(
        .invalidArgument, "EarlyStopping cannot go on from \(state)",
        expected: "its own state: epochsSince and best")
    }
    best = state["best"]
    epochsSince = since
  }

  /// - Throws: `invalidArgument` where the values of the best epoch are wanted at the end and there are none.
  public func restore(arrays: [String: NDArray]) throws {
    guard !restoresBest || best == nil || !arrays.isEmpty else {
      throw ApusError(
        .invalidArgument, "the checkpoint does not have the weights of EarlyStopping's best epoch",
        expected: "a checkpoint of a run with restoresBest: true, or restoresBest: false")
    }
    snapshot = restoresBest && !arrays.isEmpty ? ModelSnapshot(arrays: arrays) : nil
    isResumed = true
  }
}
