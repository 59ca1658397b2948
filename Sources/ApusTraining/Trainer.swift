// The loop that most users need: epochs, validation, progress, weights.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime
import Foundation

/// Trains a model on batches: a ``TrainingStep``, an ``EvaluationStep`` and the loop around them.
///
///     let trainer = try Trainer(Classifier(), optimizer: Adam(learningRate: 1e-3)) { model, batch in
///       crossEntropy(model(batch.images), batch.labels)
///     }
///     try trainer.fit(data.train.batched(64), validation: data.test.batched(1000), epochs: 5)
///     try trainer.save("fashion.safetensors")
///
/// The step is recorded and compiled when the first batch shows its shapes, and again for another shape
/// (the last partial batch); all compiled steps share the same parameters.
public final class Trainer<Model: Module>: TrainingRun {
  public let model: Model
  /// The moving average of the model's weights, where one is kept: what is evaluated and saved.
  public let average: Model?
  /// What is run for each batch.
  public let trainingStep: TrainingStep
  /// Epochs finished so far; the order of the data follows from it.
  public private(set) var epoch = 0
  /// Batches finished so far of the epoch under way; above 0 only after training has been interrupted.
  public private(set) var batch = 0
  /// All epochs finished so far by this object.
  public private(set) var history: [EpochSummary] = []
  /// Why a callback ended the last call of `fit`; nil where none did.
  public private(set) var stopReason: String?

  let seed: UInt64
  /// The rule of each optimiser.
  let rule: String
  private let evaluation: EvaluationStep<Model>
  private let trainingMetrics: Bool
  private let batchesPerStep: Int
  /// Whether the call of `fit` under way evaluates after each epoch.
  private var isValidating = false
  /// The data of the epoch under way, or of the last one: its identity, and its number of batches.
  private var data: (identity: String, batches: Int)?
  /// What the checkpoint that is resumed was trained on.
  private var expectedData: String?
  /// Those of the last call of `fit`.
  private var callbacks: [any Callback] = []
  /// What the checkpoint that is resumed has of callbacks, until `fit` brings them.
  private var resumedStates: CallbackStates?
  private var hasWarnedOfSkipping = false
  /// The means of the epoch under way, or of one whose end a checkpoint precedes.
  private var progress = EpochProgress()
  private let optimizers: [(pattern: String, optimizer: any Optimizer)]
  /// The other processes that train the same model.
  private(set) var company: RunCompany

  /// Gives the model first values where it has none. What has values keeps them: a second trainer goes on
  /// with what a first one learnt, and weights that were loaded stay.
  ///
  /// - `training`: the part of the model that learns; all of it by default.
  /// - `movingAverage`: in 0..<1, the decay β of an average of the weights, `a ← β·a + (1-β)·w` after each step (Polyak &
  ///   Juditsky 1992), which begins as the first weights. Evaluation looks at it and `save` writes it; the average's
  ///   buffers are the model's. PyTorch's `AveragedModel` with `get_ema_multi_avg_fn(β)`, but that it begins with the
  ///   weights before the first step.
  /// - `accumulating`: so many batches share an update, as if they were one: what does not fit into memory at once. The
  ///   last batches of an epoch may be fewer. A step, for schedules and callbacks, is an update.
  /// - `seed`: determines first values, the order of the data and dropout; equal seeds and data give equal
  ///   bits, whatever the number of threads.
  /// - `loss`: maps model and batch to one float; may call `batch.report`.
  /// - Throws: `invalidArgument` for settings that make no sense, and as
  ///   `Module.initialize`.
  public init(
    _ model: Model, optimizer: any Optimizer, training part: (any Module)? = nil,
    movingAverage decay: Double? = nil, accumulating batches: Int = 1, seed: UInt64 = 0,
    options: StepOptions = StepOptions(),
    compile: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line,
    loss: @escaping LossFunction<Model>
  ) throws {
    if let decay, !(0..<1).contains(decay) {
      throw ApusError(
        .invalidArgument, "movingAverage is \(decay)", at: sourceLocation(file, line),
        expected: "0 ≤ movingAverage < 1")
    }
    guard batches >= 1 else {
      throw ApusError(
        .invalidArgument, "accumulating \(batches) batches", at: sourceLocation(file, line),
        expected: "at least 1 for each update")
    }
    self.model = model
    self.seed = seed
    batchesPerStep = batches
    company = RunCompany(compile.processes)
    trainingMetrics = options.trainingMetrics
    let rules = try StepRecorder.Rules(optimizer, options.groups)
    rule =
      try rules.text(GradientLimit(norm: options.clipNorm, value: options.clipValue))
      + (decay.map { ", movingAverage: \($0)" } ?? "")
    optimizers = rules.all
    try model.initialize(seed: seed, file: file, line: line)
    let average = try decay.map { _ in try model.copy(file: file, line: line) }
    self.average = average
    trainingStep = try TrainingStep(
      model, optimizer: optimizer, training: part, seed: seed, options: options, compile: compile,
      afterwards: {
        if let decay { average?.follow(model, rate: 1 - decay, file: file, line: line) }
      }, file: file, line: line, loss: loss)
    evaluation = try EvaluationStep(
      average ?? model, seed: seed, compile: compile, file: file, line: line, loss: loss)
  }

  /// What is evaluated and saved: the average where there is one, else the model.
  public var judgedModel: Model { average ?? model }

  /// All that training changes.
  var wholeModel: any Module {
    average.map { AveragedModel(model: model, average: $0) } ?? model
  }

  /// Steps taken so far; schedules count them.
  public var step: Int { trainingStep.count }
  public var trainedModel: any Module { wholeModel }
  public var learningRates: [(name: String, rate: Double)] {
    // The rule of all others stands last there and first here.
    (optimizers.suffix(1) + optimizers.dropLast()).compactMap { pattern, optimizer in
      optimizer.schedule.map { (pattern, $0.value(at: max(step - 1, 0))) }
    }
  }
  public var summaryMetrics: [String] {
    isValidating || trainingMetrics ? trainingStep.outline?.metrics ?? [] : []
  }

  /// Takes one step on one batch.
  ///
  /// - Throws: as ``TrainingStep/run(_:)``.
  @discardableResult
  public func train(on batch: Batch) throws -> StepResult { try trainingStep.run(batch) }

  /// Trains for `epochs` epochs, evaluating on `validation` after each. An epoch that was interrupted,
  /// in this process or in the one that wrote the checkpoint, is finished first and counts as one. One that lacked its
  /// end alone is ended first (validated, and callbacks hear of that) and does not count.
  ///
  /// - `epochs`: at least 1; or 0 after ``resume(from:)`` of a run that has all its epochs behind it: callbacks then
  ///   hear that it ends, and early stopping gives the best weights back.
  /// - `data`: shuffled anew in each epoch, by the trainer's seed, unless it has an order of its own.
  /// - `callbacks`: hear of every step and epoch, and may end the run; a bar on standard error by default.
  /// - Returns: a summary of each epoch that was finished.
  /// - Throws: `invalidArgument` for less than one epoch, a source without examples, or another than the
  ///   checkpoint that is resumed was trained on; `resource`, before the first step, where the validation's
  ///   batches do not fit into a limit of memory; what reading data, running steps and callbacks throw.
  ///   `history` then has the epochs so far.
  @discardableResult
  public func fit(
    _ data: any BatchSource, validation: (any BatchSource)? = nil, epochs: Int,
    callbacks: [any Callback] = [ProgressBar()]
  ) throws -> [EpochSummary] {
    guard epochs >= 1 || epochs == 0 && resumedStates != nil else {
      throw ApusError(
        .invalidArgument, "\(epochs) epochs", expected: "at least 1, or 0 after resume(from:)")
    }
    let data = company.part(of: data.forTraining(seed: seed))
    guard data.exampleCount > 0 else {
      throw ApusError(.invalidArgument, "the training data is empty", expected: "examples")
    }
    if let expectedData, expectedData != data.identity {
      throw ApusError(
        .invalidArgument, "the training data is \(data.identity)",
        expected: "\(expectedData), as in the checkpoint that is resumed")
    }
    if let validation { try evaluation.checkMemory(for: validation) }
    try company.requireSame(
      wholeModel,
      place:
        "epoch \(epoch), batch \(batch), step \(step), \(data.identity), \(epochs) epochs, \(rule)")
    try resumedStates?.restore(callbacks)
    resumedStates = nil
    self.callbacks = callbacks
    // Whatever ends it: what was noted until then is in its files.
    defer { for case let recorder as RunRecorder in callbacks { recorder.settle() } }
    expectedData = nil
    self.data = (data.identity, data.batchCount)
    stopReason = nil
    isValidating = validation != nil
    if progress.isWhole,
      try tell(callbacks, .epochBegan(epoch: 0, of: max(epochs, 1), batches: data.batchCount))
    {
      try end(0, steps: 0, seconds: 0, validation, callbacks)
    }
    let start = history.count
    for index in 0..<epochs where stopReason == nil {
      try run(index, of: epochs, data, validation, callbacks)
    }
    _ = try tell(callbacks, .ended(reason: stopReason))
    return Array(history[start...])
  }

  /// One epoch, or what is left of it; ended early where a callback says so.
  private func run(
    _ index: Int, of epochs: Int, _ data: any BatchSource, _ validation: (any BatchSource)?,
    _ callbacks: [any Callback]
  ) throws {
    let start = ContinuousClock.now
    let iterator = try BatchThreads.$current.withValue(trainingStep.compileOptions.batchThreads) {
      try data.makeIterator(epoch: epoch, startingAt: batch)
    }
    var ahead = try iterator.next()
    // Before anybody hears of the epoch, so that it is known what it will report.
    if let ahead {
      try trainingStep.prepare(for: ahead, accumulating: isKept(batch, of: data.batchCount))
    }
    if try !tell(callbacks, .epochBegan(epoch: index, of: epochs, batches: data.batchCount)) {
      return
    }
    if batch == 0 { progress = EpochProgress() }
    let first = step
    // Of the batches that share the next update.
    var shared = ResultMean()
    while let next = ahead {
      var result =
        isKept(batch, of: data.batchCount)
        ? try trainingStep.accumulate(next) : try train(on: next)
      batch += 1
      progress.total.add(result, count: next.count)
      if let reason = result.nonFinite { noteSkipped(reason) }
      if batchesPerStep > 1 {
        shared.add(result, count: next.count)
        if !result.wasSkipped { result = result.with(shared.mean) }
      }
      // Of several batches only the last is a step, but nobody is to miss what was not finite.
      if trainingStep.accumulatedBatches == 0 || result.nonFinite != nil {
        if trainingStep.accumulatedBatches == 0 { shared = ResultMean() }
        if try !tell(callbacks, .stepEnded(step: batch, result)), batch < data.batchCount { return }
      }
      ahead = try iterator.next()
    }
    let count = step - first
    epoch += 1
    batch = 0
    progress.isWhole = true
    try end(
      index, steps: count, seconds: (ContinuousClock.now - start) / .seconds(1), validation,
      callbacks)
  }

  /// Whether the gradients of the epoch's next batch are kept for an update that comes later.
  private func isKept(_ batch: Int, of count: Int) -> Bool {
    batch + 1 < count && trainingStep.accumulatedBatches + 1 < batchesPerStep
  }

  /// Says the first time that a step came to nothing, and ends the run where that is wanted.
  private func noteSkipped(_ reason: ApusError) {
    if trainingStep.nonFinite == .stop { stopReason = stopReason ?? reason.description }
    guard !hasWarnedOfSkipping else { return }
    hasWarnedOfSkipping = true
    Warnings.say("\(reason); what is skipped from now on is counted")
  }

  /// What comes after the last step of an epoch.
  ///
  /// - `seconds`: of the steps.
  private func end(
    _ index: Int, steps: Int, seconds: Double, _ validation: (any BatchSource)?,
    _ callbacks: [any Callback]
  ) throws {
    let summary = EpochSummary(
      epoch: index, steps: steps, seconds: seconds, training: progress.total.mean,
      validation: try validation.map(evaluate), skipped: progress.total.skipped)
    progress = EpochProgress()
    history.append(summary)
    _ = try tell(callbacks, .epochEnded(summary))
  }

  /// Whether training goes on after an event.
  private func tell(_ callbacks: [any Callback], _ event: TrainingEvent) throws -> Bool {
    let callbacks = company.heard(callbacks)
    var reason: String?
    // What goes into a checkpoint first, so that one that is written now has it.
    let ordered =
      callbacks.filter { $0 is any ResumableCallback }
      + callbacks.filter { !($0 is any ResumableCallback) }
    for callback in ordered {
      if case .stop(let wish) = try callback.handle(event, in: self) { reason = reason ?? wish }
    }
    stopReason = stopReason ?? company.stops(after: event, reason)
    return stopReason == nil
  }

  /// The loss and metrics over a data set, whatever the sizes of its batches.
  ///
  /// - Throws: as ``EvaluationStep/run(over:)``.
  public func evaluate(_ data: any BatchSource) throws -> StepResult {
    try evaluation.run(over: data)
  }

  // MARK: Checkpoints

  /// The counters that a checkpoint keeps. After the last batch of an epoch that is the next epoch's start.
  var counters: (epoch: Int, batch: Int) {
    let isWhole = batch > 0 && batch == data?.batches
    return (isWhole ? epoch + 1 : epoch, isWhole ? 0 : batch)
  }

  /// What the data was, if any has been seen.
  var dataIdentity: String? { data?.identity ?? expectedData }

  /// What its callbacks remember.
  var callbackStates: CallbackStates { resumedStates ?? CallbackStates(of: callbacks) }

  /// Those of the call of `fit` under way, or of the last one.
  var runningCallbacks: [any Callback] { callbacks }

  /// The means so far of an epoch that has begun and has not ended; nil between epochs.
  var epochProgress: EpochProgress? {
    var progress = progress
    if batch > 0 && batch == data?.batches { progress.isWhole = true }
    return batch > 0 || progress.isWhole ? progress : nil
  }

  /// Moves the counters of a run that is being resumed.
  func goOn(
    fromEpoch epoch: Int, batch: Int, data: String?, _ states: CallbackStates,
    _ progress: EpochProgress
  ) {
    resumedStates = states
    self.progress = progress
    self.epoch = epoch
    self.batch = batch
    self.data = nil
    expectedData = data
  }
}

extension Optimizer {
  /// The schedule that it has as `learningRate`, as all of the library's have and a user's rule may; or the rule
  /// that it is made of, its `base`.
  fileprivate var schedule: LearningRate? {
    let parts = Mirror(reflecting: self).children
    func part(_ name: String) -> Any? { parts.first { $0.label == name }?.value }
    return part("learningRate") as? LearningRate ?? (part("base") as? any Optimizer)?.schedule
  }
}
