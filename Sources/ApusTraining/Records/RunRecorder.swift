// The callback that notes a run: curves for TensorBoard, JSON lines and the report.

import ApusData
import ApusGraph
import ApusNN

/// Notes the course of training: losses, metrics, learning rates, norms of gradients, distributions of parameters.
///
///     let recorder = try RunRecorder("runs/a", hyperparameters: ["rate": 1e-3, "hidden": 128])
///     try trainer.fit(train, validation: test, epochs: 5, callbacks: [ProgressBar(), recorder])
///     try recorder.image("samples", Picture(images), at: trainer.step)
///     // tensorboard --logdir runs
///
/// The folder gets event files for TensorBoard and `metrics.jsonl`. Writing takes place on a thread of its own; a step
/// that is not noted costs a comparison. A run that is resumed from a checkpoint goes on in the same folder, as if it
/// had never been interrupted.
///
/// | tag | what |
/// | --- | --- |
/// | `loss/step`, `NAME/step` | of a step, every so many steps |
/// | `loss/training`, `NAME/training` | means of an epoch |
/// | `loss/validation`, `NAME/validation` | after an epoch |
/// | `learning_rate`, `learning_rate/PATTERN` | of the optimiser, and of groups |
/// | `gradient_norm` | where steps compute it: `clipNorm`, or `StepOptions(reportsGradientNorm: true)` |
/// | `steps_per_second` | of an epoch, without validation |
/// | `parameters/PATH`, `gradients/PATH` | histograms, every so many epochs |
///
/// Records that cannot be written (the disk is full) cost the run nothing: one line on standard error says so.
///
/// In a loop of your own: `begin(at:)`, then `scalar`, `histogram`, `image` and `text`.
public final class RunRecorder: Callback {
  /// The gradients of some batch, now; see ``GradientNorms/gradients(_:)``.
  public typealias Gradients = () throws -> [(path: String, gradient: NDArray)]

  private let queue: RecordQueue
  private let interval: Int
  private let histogramInterval: Int?
  private let hyperparameters: [String: Hyperparameter]
  private let gradients: Gradients?
  private let recordsGraph: Bool
  /// The last step that records may be of; nil before the run has begun.
  private var lastStep: Int?
  /// Once for each recorder.
  private var isDescribed = false

  /// Notes into a folder, which is made when the run begins.
  ///
  /// - `every`: so many steps are between two points of `loss/step`, `learning_rate` and `gradient_norm`.
  /// - `histogramsEvery`: so many epochs are between two histograms of each parameter; nil for none.
  /// - `recordsGraph`: whether TensorBoard gets the recorded step as a graph.
  /// - `hyperparameters`: the settings of the run, for TensorBoard's table and for comparing runs.
  /// - `gradients`: asked for the gradients where histograms are noted, which then have them too.
  /// - Throws: `invalidArgument` for numbers below 1.
  public convenience init(
    _ folder: String, every steps: Int = 10, histogramsEvery epochs: Int? = nil,
    recordsGraph: Bool = true, hyperparameters: [String: Hyperparameter] = [:],
    gradients: Gradients? = nil
  ) throws {
    let files = RunFolder(folder)
    try self.init(
      [TensorBoardWriter(folder), JSONLinesWriter(files.metrics)], every: steps,
      histogramsEvery: epochs, recordsGraph: recordsGraph, hyperparameters: hyperparameters,
      gradients: gradients)
  }

  /// Notes by writers of your choice; as into a folder.
  ///
  /// - Throws: `invalidArgument` for numbers below 1.
  public convenience init(
    _ writers: [any RecordWriter], every steps: Int = 10, histogramsEvery epochs: Int? = nil,
    recordsGraph: Bool = true, hyperparameters: [String: Hyperparameter] = [:],
    gradients: Gradients? = nil
  ) throws {
    try self.init(
      writers, every: steps, histogramsEvery: epochs, recordsGraph: recordsGraph,
      hyperparameters: hyperparameters, gradients: gradients, warn: { StandardError.warn($0) })
  }

  /// - `warn`: hears of records that are lost, on another thread.
  package init(
    _ writers: [any RecordWriter], every steps: Int, histogramsEvery epochs: Int?,
    recordsGraph: Bool, hyperparameters: [String: Hyperparameter], gradients: Gradients?,
    warn: @escaping @Sendable (String) -> Void
  ) throws {
    guard steps >= 1, epochs ?? 1 >= 1 else {
      throw ApusError(
        .invalidArgument, "a record every \(min(steps, epochs ?? 1)) steps or epochs",
        expected: "at least 1")
    }
    queue = RecordQueue(writers, warn: warn)
    interval = steps
    histogramInterval = epochs
    self.recordsGraph = recordsGraph
    self.hyperparameters = hyperparameters
    self.gradients = gradients
  }

  deinit { queue.settle() }

  // MARK: In a loop of one's own

  /// Begins the record, or goes on with it after that step of a run that was interrupted. `fit` does it itself.
  ///
  /// - Throws: `io` where files cannot be made, `invalidArgument` for a negative step.
  public func begin(at step: Int) throws {
    guard RunRecord.steps.contains(step) else {
      throw ApusError(
        .invalidArgument, "a run that begins at step \(step)", expected: "0 or more, below 2^53")
    }
    try queue.begin(at: step, time: RunRecord.now)
    lastStep = step
  }

  /// Notes a point of a curve.
  ///
  /// - Throws: `invalidArgument` before the run has begun, and for a step before the last one that was noted: curves do
  ///   not go back.
  public func scalar(_ tag: String, _ value: Double, at step: Int) throws {
    try add([RunRecord(tag, step: step, .scalar(value))])
  }

  /// Notes how the elements of an array are distributed. They are counted on the recorder's own thread.
  ///
  /// - Throws: as ``scalar(_:_:at:)``.
  public func histogram(_ tag: String, _ array: NDArray, at step: Int) throws {
    try check(step)
    let time = RunRecord.now
    queue.add { [RunRecord(tag, step: step, time: time, .histogram(RecordHistogram(array)))] }
  }

  /// Notes a picture.
  ///
  /// - Throws: as ``scalar(_:_:at:)``.
  public func image(_ tag: String, _ picture: Picture, at step: Int) throws {
    try add([RunRecord(tag, step: step, .image(picture))])
  }

  /// Notes a text, Markdown for TensorBoard.
  ///
  /// - Throws: as ``scalar(_:_:at:)``.
  public func text(_ tag: String, _ text: String, at step: Int) throws {
    try add([RunRecord(tag, step: step, .text(text))])
  }

  /// Notes any records.
  ///
  /// - Throws: as ``scalar(_:_:at:)``.
  public func add(_ records: [RunRecord]) throws {
    for record in records { try check(record.step) }
    queue.add { records }
  }

  /// Waits until all that was noted has been written. `fit` does it at its end.
  public func settle() { queue.settle() }

  private func check(_ step: Int) throws {
    guard let last = lastStep, step >= last, RunRecord.steps.contains(step) else {
      throw ApusError(
        .invalidArgument,
        lastStep.map { "a record of step \(step) after one of step \($0)" }
          ?? "a record before the run has begun",
        expected: "begin(at:) or a trainer's fit first, and steps below 2^53 that do not go back")
    }
    lastStep = step
  }

  // MARK: The callback

  /// - Throws: before the first step `io` where files cannot be made.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan: try epochBegan(run)
    case .stepEnded(_, let result):
      // A loop of one's own may begin with this.
      if lastStep == nil { try begin(at: max(run.step - 1, 0)) }
      if let reason = result.nonFinite {
        try add([RunRecord("skipped", step: run.step, .text(reason.description))])
      } else if run.step == 1 || run.step.isMultiple(of: interval) {
        note(result, run)
      }
    case .epochEnded(let summary): try epochEnded(summary, run)
    case .ended(let reason):
      if let reason, lastStep != nil { try text("ended", reason, at: run.step) }
      queue.settle()
    }
    return .goOn
  }

  private func epochBegan(_ run: any TrainingRun) throws {
    // At first, and where the trainer has gone back to a checkpoint since.
    if lastStep.map({ run.step < $0 }) ?? true { try begin(at: run.step) }
    guard !isDescribed else { return }
    isDescribed = true
    if !hyperparameters.isEmpty {
      let metrics = (["loss"] + run.summaryMetrics).map { "\($0)/validation" }
      try add([
        RunRecord(
          "hyperparameters", step: run.step, .hyperparameters(hyperparameters, metrics: metrics))
      ])
    }
    if recordsGraph, run.step == 0, let graph = try (run as? any RecordedRun)?.recordedGraph() {
      try add([RunRecord("step", step: 0, .graph(graph))])
    }
  }

  private func note(_ result: StepResult, _ run: any TrainingRun) {
    lastStep = run.step
    let (step, time) = (run.step, RunRecord.now)
    var numbers = result.wasSkipped ? [] : [("loss/step", result.loss)]
    numbers += result.metrics.map { ("\($0.name)/step", $0.value) }
    numbers += run.learningRates.map { name, rate in
      (name == "*" ? "learning_rate" : "learning_rate/\(name)", rate)
    }
    if let norm = result.gradientNorm { numbers.append(("gradient_norm", norm)) }
    queue.add { [numbers] in
      numbers.map { RunRecord($0.0, step: step, time: time, .scalar($0.1)) }
    }
  }

  private func epochEnded(_ summary: EpochSummary, _ run: any TrainingRun) throws {
    let (step, time) = (run.step, RunRecord.now)
    lastStep = step
    func numbers(_ result: StepResult, _ part: String) -> [(String, Double)] {
      ([("loss", result.loss)] + result.metrics).map { ("\($0.0)/\(part)", $0.1) }
    }
    var all = numbers(summary.training, "training")
    if let validation = summary.validation { all += numbers(validation, "validation") }
    all.append(("epoch", Double(run.epoch)))
    if summary.skipped > 0 { all.append(("skipped", Double(summary.skipped))) }
    if summary.steps > 0 { all.append(("steps_per_second", summary.stepsPerSecond)) }
    queue.add { [all] in all.map { RunRecord($0.0, step: step, time: time, .scalar($0.1)) } }
    guard let histogramInterval, run.epoch.isMultiple(of: histogramInterval) else { return }
    // The values of now: training goes on while they are counted. What was copied before is counted first, so that
    // there are two copies at most.
    queue.settle()
    var arrays = try run.trainedModel.snapshot().arrays.sorted { $0.key < $1.key }.map {
      ("parameters/\($0.key)", $0.value)
    }
    arrays += try gradients?().map { ("gradients/\($0.path)", $0.gradient) } ?? []
    queue.add { [arrays] in
      arrays.map {
        RunRecord($0.0, step: step, time: time, .histogram(RecordHistogram($0.1)))
      }
    }
  }
}

/// A run that can show its step as a graph.
package protocol RecordedRun: TrainingRun {
  /// The step as it was recorded for its newest batch; nil before the first.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  func recordedGraph() throws -> Graph?
}

extension Trainer: RecordedRun {
  package func recordedGraph() throws -> Graph? {
    try trainingStep.fields.map { try trainingStep.graph(for: $0) }
  }
}
