// The number of an epoch that callbacks look at: the loss, or a metric, and which way is better.

import ApusGraph

/// What a callback goes by: the loss or a metric of the validation, or of training where there is none.
struct WatchedMetric: Sendable {
  /// Nil for the loss.
  let name: String?
  let goal: EarlyStopping.Goal
  /// Who looks, for errors.
  let owner: String

  init(_ name: String?, _ goal: EarlyStopping.Goal, owner: String) {
    self.name = name == "loss" ? nil : name
    self.goal = goal
    self.owner = owner
  }

  /// - Throws: `missing` where epochs will have no such metric.
  func check(_ run: any TrainingRun) throws {
    if let name, !run.summaryMetrics.contains(name) { throw missing(run) }
  }

  /// - Throws: `missing` where the epoch has no such metric.
  func value(of summary: EpochSummary, in run: any TrainingRun) throws -> Double {
    let result = summary.validation ?? summary.training
    guard let name else { return result.loss }
    guard let value = result[name] else { throw missing(run) }
    return value
  }

  /// Whether a number is better than the best before, by more than `delta`. A NaN never is; any other number is
  /// better than none.
  func isBetter(_ value: Double, than best: Double?, by delta: Double = 0) -> Bool {
    guard !value.isNaN else { return false }
    guard let best else { return true }
    return (goal == .smaller ? best - value : value - best) > delta
  }

  private func missing(_ run: any TrainingRun) -> ApusError {
    ApusError(
      .missing, "\(owner) looks at '\(name ?? "loss")', which epochs will not have",
      expected:
        "one of \((["loss"] + run.summaryMetrics).joined(separator: ", ")); metrics are noted by "
        + "batch.report, and computed over fit's validation or with StepOptions(trainingMetrics: true)"
    )
  }
}
