// The recipe of most models: one model, one loss, one optimiser, and a trainer's loop.

import Apus

/// A recipe of one model with one loss and one optimiser. It says what these are and has its step for it.
package protocol ModelRecipe: Recipe {
  associatedtype Model: Module

  /// A new model, without values.
  ///
  /// - Throws: `invalidArgument` where options do not go together.
  func model(_ options: RecipeOptions) throws -> Model
  /// The update rule.
  ///
  /// - `stepsPerEpoch`: for schedules that count epochs; nil where there are none, as in a benchmark.
  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer
  /// Maps model and batch to one float; may report metrics.
  func loss(_ model: Model, _ batch: SymbolicBatch) throws -> Tensor
  /// What the loss reads of a batch, in this order.
  func fields(_ options: RecipeOptions) -> [RandomField]
}

/// A recipe that learns by a `Trainer`: its model, its loss, its optimiser, on its data.
package protocol SupervisedRecipe: ModelRecipe, TrainableRecipe {
  /// What decides how good the model is.
  var metric: RecipeMetric { get }
  /// What else the loss reports that people want to read at the end: the metrics of further heads.
  var otherMetrics: [RecipeMetric] { get }
  /// Steps of an epoch of a short look: 50 by default, fewer where those take longer than some seconds.
  var quickSteps: Int { get }
  /// Reads the data.
  ///
  /// - Throws: `io` naming what is not there and the package that has it, and what else reading throws.
  func data(_ options: RecipeOptions) throws -> RecipeData
  /// How it learns: the optimiser, and what else there is beside it. Of the optimiser alone by default.
  ///
  /// - `stepsPerEpoch`: as for `optimizer`.
  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate
  /// What else is told of a model that has learnt, such as the overlap of each class, or what it is good for besides:
  /// figures that are no means over examples. They go before metric and loss. None by default. The weights are
  /// written by then: `run.output`.
  ///
  /// - Throws: what reading the data, compiling and running throw.
  func judge(_ model: Model, _ data: RecipeData, _ run: RecipeRun) throws
    -> [RecipeOutcome.Figure]
  /// What a report shows of a model that has learnt, besides the curves: its parameters by default.
  ///
  /// - Throws: what reading the data, compiling and running throw.
  func evidence(_ model: Model, _ data: RecipeData, _ run: RecipeRun) throws -> RunEvidence
}

/// What a model learns from, and what it is judged by.
package struct RecipeData: Sendable {
  /// Shuffled by the run's seed, unless it has an order of its own.
  package var training: any BatchSource
  package var validation: any BatchSource
  /// What the model is judged by at the end, where validation decides when that is.
  package var test: (any BatchSource)?

  package init(
    training: any BatchSource, validation: any BatchSource, test: (any BatchSource)? = nil
  ) {
    self.training = training
    self.validation = validation
    self.test = test
  }
}

/// How a model learns.
package struct RecipeUpdate {
  package var optimizer: any Optimizer
  /// Other rules for parameters whose paths match a pattern; the first that matches counts.
  package var groups: [(pattern: String, optimizer: any Optimizer)] = []
  /// What the joint norm of gradients is clipped to.
  package var clipNorm: Double?
  /// What each element of the gradients is clipped to.
  package var clipValue: Double?
  package var nonFinite = NonFinitePolicy.raise
  /// The batches that share an update.
  package var accumulated = 1
  /// The decay of an average of the weights, which is judged and saved in their place.
  package var movingAverage: Double?
  /// Who hears of the run besides its progress, such as what ends it early.
  package var callbacks: [any Callback] = []

  package init(_ optimizer: any Optimizer, clipNorm: Double? = nil) {
    self.optimizer = optimizer
    self.clipNorm = clipNorm
  }

  var stepOptions: StepOptions {
    StepOptions(
      clipNorm: clipNorm, clipValue: clipValue,
      groups: ParameterGroups(groups.map { ($0.pattern, $0.optimizer) }), nonFinite: nonFinite)
  }
}

/// A metric that a loss reports, which decides how good a model is.
package struct RecipeMetric: Sendable {
  /// As the loss reports it: "accuracy".
  package var name: String
  /// Whether people want it in percent.
  package var isFraction: Bool
  /// Which way is better.
  package var goal: EarlyStopping.Goal

  package init(_ name: String, isFraction: Bool = false, goal: EarlyStopping.Goal) {
    self.name = name
    self.isFraction = isFraction
    self.goal = goal
  }
}

extension ModelRecipe {
  package func steps(_ options: RecipeOptions, compile: CompileOptions) throws -> [RecipeStep] {
    try steps(of: model(options), options, compile: compile)
  }

  /// The step of a model, and what it is judged by.
  func steps(
    of model: Model, _ options: RecipeOptions, compile: CompileOptions
  ) throws -> [RecipeStep] {
    try model.initialize(seed: options.seed)
    let step = try TrainingStep(
      model, optimizer: optimizer(options, stepsPerEpoch: nil), seed: options.seed,
      compile: compile, loss: loss)
    let evaluation = try EvaluationStep(model, seed: options.seed, compile: compile, loss: loss)
    return [RecipeStep("step", step, fields: fields(options), evaluation: evaluation.graph)]
  }
}

extension SupervisedRecipe {
  package var otherMetrics: [RecipeMetric] { [] }

  package func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch))
  }

  package func judge(
    _ model: Model, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] { [] }

  package var quickSteps: Int { 50 }

  package func evidence(
    _ model: Model, _ data: RecipeData, _ run: RecipeRun
  ) throws -> RunEvidence { RunEvidence(model: model.summary) }

  package func train(_ run: RecipeRun) throws -> RecipeOutcome { try fit(run) }

  /// Trains by a `Trainer`, for a recipe that does something before or after.
  ///
  /// - `more`: hear of the run too, before all others.
  func fit(_ run: RecipeRun, telling more: [any Callback] = []) throws -> RecipeOutcome {
    let options = run.options
    let whole = try data(options)
    let data = run.isQuick ? whole.beginning(quickSteps) : whole
    let update = update(options, stepsPerEpoch: data.training.batchCount)
    let trainer = try Trainer(
      model(options), optimizer: update.optimizer, movingAverage: update.movingAverage,
      accumulating: update.accumulated, seed: options.seed, options: update.stepOptions,
      compile: run.compile, loss: loss)
    // What is found at the end is that of what is written, which need not be the last epoch's.
    func figures() throws -> [RecipeOutcome.Figure] {
      let test = try trainer.evaluate(data.test ?? data.validation)
      return try judge(trainer.judgedModel, data, run)
        + RecipeOutcome.figures(test, [metric] + otherMetrics)
    }
    let callbacks =
      more + update.callbacks + (try gradientLog(trainer.model, data, run)) + run.callbacks
    if let resume = run.resume {
      try trainer.resume(from: resume)
      // The run may have ended between its last checkpoint and its weights.
      if trainer.epoch == options.epochs && trainer.batch == 0 {
        try trainer.fit(
          data.training, validation: data.validation, epochs: 0, callbacks: callbacks)
        try run.save(trainer)
        try run.hearEvidence?(evidence(trainer.judgedModel, data, run))
        return RecipeOutcome(figures: try figures(), seconds: 0, stepsPerSecond: 0)
      }
      guard trainer.epoch < options.epochs else {
        throw ApusError(
          .invalidArgument, "the checkpoint has all \(trainer.epoch) epochs behind it", at: resume,
          expected: "--epochs above \(trainer.epoch)")
      }
    }
    let start = ContinuousClock.now
    let history = try trainer.fit(
      data.training, validation: data.validation, epochs: options.epochs - trainer.epoch,
      callbacks: callbacks)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    try run.save(trainer)
    try run.hearEvidence?(evidence(trainer.judgedModel, data, run))
    var outcome = RecipeOutcome(history, [metric] + otherMetrics, seconds: seconds)
    if data.test != nil || !update.callbacks.isEmpty {
      outcome.figures = try figures()
    } else {
      outcome.figures = try judge(trainer.judgedModel, data, run) + outcome.figures
    }
    return outcome
  }
}

extension SupervisedRecipe {
  /// Who measures gradients, on the first training batch as the data stands, where the run wants that.
  private func gradientLog(
    _ model: Model, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [any Callback] {
    guard let hear = run.hearGradients,
      let batch = try data.training.makeIterator(epoch: 0).next()
    else { return [] }
    let gradients = try GradientNorms(
      model, seed: run.options.seed, compile: run.compile, loss: loss)
    return [GradientLog(gradients, on: batch, hear)]
  }
}

extension RecipeOutcome {
  /// What came of epochs: metrics and loss of the last validation.
  init(_ history: [EpochSummary], _ metrics: [RecipeMetric], seconds: Double) {
    let steps = history.reduce(0) { $0 + $1.steps }
    self.init(
      figures: history.last?.validation.map { Self.figures($0, metrics) } ?? [], seconds: seconds,
      stepsPerSecond: Double(steps) / max(history.reduce(0) { $0 + $1.seconds }, 1e-9))
  }

  /// Metrics and loss on data that was held out.
  static func figures(_ test: StepResult, _ metrics: [RecipeMetric]) -> [Figure] {
    metrics.map {
      Figure("test \($0.name)", test[$0.name] ?? .nan, isFraction: $0.isFraction)
    } + [Figure("test loss", test.loss)]
  }
}
