// The loop that most users need: epochs, validation, progress, weights.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime
import Foundation

/// Trains a model on batches.
///
///     let trainer = try Trainer(Classifier(), optimizer: Adam(learningRate: 1e-3)) { model, batch in
///       crossEntropy(model(batch.images), batch.labels)
///     }
///     try trainer.fit(data.train.batched(64), validation: data.test.batched(1000), epochs: 5)
///     try trainer.save("fashion.safetensors")
///
/// The step is recorded and compiled when the first batch shows its shapes, and again for another shape
/// (the last partial batch); all compiled steps share the same parameters.
public final class Trainer<Model: Module> {
  public let model: Model
  /// Parameters, optimiser slots and the random key.
  public let states: StateStore
  public let optimizer: any Optimizer
  /// Steps taken so far; schedules count them.
  public private(set) var step = 0
  /// Epochs finished so far; the order of the data follows from it.
  public private(set) var epoch = 0
  /// Batches finished so far of the epoch under way; above 0 only after training has been interrupted.
  public private(set) var batch = 0

  private let options: StepOptions
  private let compileOptions: CompileOptions
  private let loss: LossFunction<Model>
  private var trainingSteps: [[BatchField]: TrainingStep<Model>] = [:]
  private var evaluationSteps: [[BatchField]: EvaluationStep<Model>] = [:]

  /// Initialises the model.
  ///
  /// - `seed`: determines first values and dropout; equal seeds and data give equal bits, whatever the
  ///   number of threads.
  /// - `loss`: maps model and batch to a scalar; may call `metric(_:_:)`.
  /// - Throws: `invalidArgument` for settings that make no sense.
  public init(
    _ model: Model, optimizer: some Optimizer, seed: UInt64 = 0,
    options: StepOptions = StepOptions(), compile: CompileOptions = CompileOptions(),
    loss: @escaping LossFunction<Model>
  ) throws {
    try optimizer.validate()
    if let norm = options.clipNorm, !(norm > 0) {
      throw ApusError(
        .invalidArgument, "clipNorm is \(norm)", expected: "a number above 0")
    }
    self.model = model
    self.optimizer = optimizer
    self.options = options
    compileOptions = compile
    self.loss = loss
    states = StateStore()
    try model.initialize(seed: seed, in: states)
    try states.set(Trace.randomKeyState, NDArray([Int64(bitPattern: seed), 0], shape: [2]))
  }

  /// The compiled training step for batches like this one, compiled now where it is new.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func trainingStep(for batch: Batch) throws -> TrainingStep<Model> {
    let fields = Self.fields(batch)
    if let step = trainingSteps[fields] { return step }
    let step = try TrainingStep(
      model, optimizer: optimizer, batch: fields, states: states, options: options,
      compile: compileOptions, loss: loss)
    trainingSteps[fields] = step
    return step
  }

  /// Takes one step on one batch.
  ///
  /// - Throws: see `TrainingStep.run`.
  @discardableResult
  public func train(on batch: Batch) throws -> StepResult {
    let result = try trainingStep(for: batch).run(batch.arrays, at: step)
    step += 1
    return result
  }

  /// Trains for `epochs` epochs, evaluating on `validation` after each. An epoch that was interrupted,
  /// in this process or in the one that wrote the checkpoint, is finished first and counts as one.
  ///
  /// - `progress`: hears of every step and epoch; a bar on standard error by default. It may throw to
  ///   end training: the parameters stay as the last step left them.
  /// - Returns: a summary of each epoch.
  /// - Throws: `invalidArgument` for less than one epoch or a source without examples, and what reading
  ///   data and running steps throw.
  @discardableResult
  public func fit(
    _ data: any BatchSource, validation: (any BatchSource)? = nil, epochs: Int,
    progress: any TrainingProgress = ProgressBar()
  ) throws -> [EpochSummary] {
    guard epochs >= 1 else {
      throw ApusError(.invalidArgument, "\(epochs) epochs", expected: "at least 1")
    }
    guard data.exampleCount > 0 else {
      throw ApusError(.invalidArgument, "the training data is empty", expected: "examples")
    }
    var history: [EpochSummary] = []
    for index in 0..<epochs {
      let start = ContinuousClock.now
      try progress.epochBegins(index, of: epochs, batches: data.batchCount)
      let iterator = try data.makeIterator(epoch: epoch, startingAt: batch)
      var total = WeightedMean()
      var count = 0
      while let next = try iterator.next() {
        let result = try train(on: next)
        total.add(result, weight: next.count)
        count += 1
        batch += 1
        try progress.stepEnded(batch, result)
      }
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      epoch += 1
      batch = 0
      let summary = EpochSummary(
        epoch: index, steps: count, seconds: seconds, training: total.mean,
        validation: try validation.map(evaluate))
      history.append(summary)
      try progress.epochEnded(summary)
    }
    return history
  }

  /// The loss and metrics over a data set, weighted by the sizes of the batches.
  public func evaluate(_ data: any BatchSource) throws -> StepResult {
    let iterator = try data.makeIterator(epoch: 0)
    var total = WeightedMean()
    while let batch = try iterator.next() {
      let fields = Self.fields(batch)
      let step =
        try evaluationSteps[fields]
        ?? EvaluationStep(model, batch: fields, states: states, compile: compileOptions, loss: loss)
      evaluationSteps[fields] = step
      total.add(try step.run(batch.arrays), weight: batch.count)
    }
    return total.mean
  }

  /// Moves the counters of a run that is being resumed.
  func resume(step: Int, epoch: Int, batch: Int) {
    self.step = step
    self.epoch = epoch
    self.batch = batch
  }

  private static func fields(_ batch: Batch) -> [BatchField] {
    zip(batch.names, batch.arrays).map { BatchField($0, $1.type) }
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

/// Hears of the course of training.
public protocol TrainingProgress {
  func epochBegins(_ epoch: Int, of epochs: Int, batches: Int) throws
  /// `step` counts from 1 within the epoch.
  func stepEnded(_ step: Int, _ result: StepResult) throws
  func epochEnded(_ summary: EpochSummary) throws
}

/// Hears and says nothing.
public struct SilentProgress: TrainingProgress {
  public init() {}
  public func epochBegins(_ epoch: Int, of epochs: Int, batches: Int) {}
  public func stepEnded(_ step: Int, _ result: StepResult) {}
  public func epochEnded(_ summary: EpochSummary) {}
}

/// The mean of results, each weighted by its number of examples.
struct WeightedMean {
  private var weight = 0.0
  private var loss = 0.0
  private var metrics: [(name: String, value: Double)] = []

  mutating func add(_ result: StepResult, weight count: Int) {
    let share = Double(count)
    weight += share
    loss += result.loss * share
    for (name, value) in result.metrics {
      if let index = metrics.firstIndex(where: { $0.name == name }) {
        metrics[index].value += value * share
      } else {
        metrics.append((name, value * share))
      }
    }
  }

  var mean: StepResult {
    StepResult(
      loss: loss / max(weight, 1), metrics: metrics.map { ($0.name, $0.value / max(weight, 1)) })
  }
}
