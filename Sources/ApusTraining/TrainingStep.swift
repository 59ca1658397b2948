// Compiled training steps: what `Trainer` runs, and what a user with their own loop runs.

import ApusData
import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime
import Synchronization

/// Maps a model and a symbolic batch to the loss, one float.
public typealias LossFunction<Model: Module> = (Model, SymbolicBatch) throws -> Tensor

/// Settings of a training step that belong to no optimiser.
public struct StepOptions: Sendable {
  /// Gradients are scaled down together so that their joint L2 norm is at most this: Pascanu et al. 2013.
  public var clipNorm: Double?
  /// Each element of each gradient is brought into -`clipValue`…`clipValue`. Not together with `clipNorm`.
  public var clipValue: Double?
  /// Other rules for parameters whose paths match a pattern; see ``ParameterGroups``.
  public var groups: ParameterGroups
  /// Whether metrics are computed in training steps too, not only in evaluation.
  public var trainingMetrics = false
  /// Whether each step tells the joint norm of its gradients, ``StepResult/gradientNorm``, also where nothing is
  /// clipped.
  public var reportsGradientNorm = false
  /// What becomes of a step whose loss or gradients are not finite.
  public var nonFinite = NonFinitePolicy.raise

  public init(
    clipNorm: Double? = nil, clipValue: Double? = nil, groups: ParameterGroups = [:],
    trainingMetrics: Bool = false, reportsGradientNorm: Bool = false,
    nonFinite: NonFinitePolicy = .raise
  ) {
    self.clipNorm = clipNorm
    self.clipValue = clipValue
    self.groups = groups
    self.trainingMetrics = trainingMetrics
    self.reportsGradientNorm = reportsGradientNorm
    self.nonFinite = nonFinite
  }
}

/// What becomes of a step whose loss or gradients are not finite. In all cases the step has changed nothing.
public enum NonFinitePolicy: String, Sendable, Hashable, CaseIterable {
  /// It throws `nonFinite`, and so does `fit`.
  case raise
  /// Its result says so, ``StepResult/nonFinite``; the next batch is the next step.
  case skip
  /// As `skip`, and `fit` ends there as if a callback had ended it.
  case stop
}

/// A training step: forward, backward and update, compiled for the shapes of batches as they come.
///
///     let gan = GAN()
///     try gan.initialize(seed: 1)
///     let step = try TrainingStep { step, batch in
///       let real = bceWithLogits(gan.discriminator(batch.images), 1)
///       step.minimize(real, over: gan.discriminator, with: Adam(learningRate: 2e-4))
///     }
///     for batch in batches { print(try step.run(batch).loss) }
///
/// It finds the parameters where the models keep them: any number of steps may train parts of one model, in
/// turns. It keeps the slots of its optimisers, the count of its steps and a random key of its own; a
/// ``Checkpoint`` saves them with the model. What is frozen or unfrozen between two steps counts from the next
/// one on.
///
/// Several batches may share an update, where one that holds them all would not fit into memory: `accumulate` keeps
/// the gradients of a batch, and the next `run` takes them with its own.
///
///     for (index, batch) in batches.enumerated() {
///       if index % 4 < 3 { try step.accumulate(batch) } else { try step.run(batch) }
///     }
///
/// A step is used by one task at a time.
public final class TrainingStep {
  /// Records the step: calls models and `step.minimize`.
  public typealias Body = (_ step: StepRecorder, _ batch: SymbolicBatch) throws -> Void

  /// Steps taken so far; schedules and bias corrections count them from 0 on.
  public package(set) var count = 0
  private(set) var slots = OptimizerSlots()
  /// The gradients of batches whose update is still to come.
  private(set) var kept = KeptGradients()
  let random: RandomSource
  /// What the recordings so far tell of the step.
  private(set) var outline: StepOutline?
  let compileOptions: CompileOptions
  /// The other processes' part; nil where this one trains alone.
  let parallel: DataParallel?
  let nonFinite: NonFinitePolicy
  private let reportsMetrics: Bool
  private let body: Body
  /// Of the body.
  let location: String
  private let shapes = CompiledShapes<Compiled>("a training step")

  /// - `seed`: of dropout and all other random numbers in the step; equal seeds and batches give equal
  ///   bits, whatever the number of threads.
  /// - `reportsMetrics`: whether what `batch.report` notes is computed.
  /// - `nonFinite`: what becomes of a step whose loss or gradients are not finite.
  /// - `body`: nothing is recorded before the first batch.
  public init(
    seed: UInt64 = 0, compile: CompileOptions = CompileOptions(), reportsMetrics: Bool = true,
    nonFinite: NonFinitePolicy = .raise, file: StaticString = #fileID, line: UInt = #line,
    _ body: @escaping Body
  ) throws {
    self.nonFinite = nonFinite
    location = sourceLocation(file, line)
    random = try RandomSource(seed: seed)
    compileOptions = compile
    parallel = try DataParallel(compile.processes)
    self.reportsMetrics = reportsMetrics
    self.body = body
  }

  /// A step that trains a model, or a part of one, by one loss.
  ///
  ///     let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1)) {
  ///       crossEntropy($0($1.images), $1.labels)
  ///     }
  ///
  /// - `training`: the part that learns; the whole model by default.
  /// - `loss`: maps model and batch to one float.
  /// - Throws: `invalidArgument` for settings that make no sense.
  public convenience init<Model: Module>(
    _ model: Model, optimizer: any Optimizer, training part: (any Module)? = nil, seed: UInt64 = 0,
    options: StepOptions = StepOptions(), compile: CompileOptions = CompileOptions(),
    file: StaticString = #fileID, line: UInt = #line, loss: @escaping LossFunction<Model>
  ) throws {
    try self.init(
      model, optimizer: optimizer, training: part, seed: seed, options: options, compile: compile,
      afterwards: {}, file: file, line: line, loss: loss)
  }

  /// - `afterwards`: records what follows the update, which reads the new parameters.
  convenience init<Model: Module>(
    _ model: Model, optimizer: any Optimizer, training part: (any Module)?, seed: UInt64,
    options: StepOptions, compile: CompileOptions, afterwards: @escaping () -> Void,
    file: StaticString, line: UInt, loss: @escaping LossFunction<Model>
  ) throws {
    try optimizer.validate()
    for (_, optimizer) in options.groups { try optimizer.validate() }
    _ = try GradientLimit(norm: options.clipNorm, value: options.clipValue)
    try self.init(
      seed: seed, compile: compile, reportsMetrics: options.trainingMetrics,
      nonFinite: options.nonFinite, file: file, line: line
    ) { step, batch in
      let learner: any Module = part ?? model
      step.minimize(
        try loss(model, batch), over: learner, with: optimizer, groups: options.groups,
        clipNorm: options.clipNorm, clipValue: options.clipValue,
        reportsNorm: options.reportsGradientNorm, file: file, line: line)
      afterwards()
    }
  }

  // MARK: Running

  /// Takes one step.
  ///
  /// - Returns: what the closure reports of this batch. Where the loss or a gradient was not finite and the step is
  ///   one that skips (``NonFinitePolicy``), ``StepResult/nonFinite`` says what was found.
  /// - Throws: mistakes of the model, with module path and line; `shapeMismatch` for a batch without
  ///   examples; `outOfRange` for a bad label; `nonFinite` where a loss or a gradient is NaN or infinite (see
  ///   `checksGradients` of `StepRecorder.minimize`). In all these cases nothing has changed: neither a parameter nor a slot,
  ///   a buffer, the random key or the count. A batch in which all labels are ignored has loss 0 and changes
  ///   nothing either; its result says so.
  ///
  /// Of several processes (``ApusRuntime/CompileOptions/processes``) all take the step, each on its part of a batch. What
  /// is wrong in one is thrown in all, and nothing has changed in any.
  @discardableResult
  public func run(_ batch: Batch) throws -> StepResult {
    try take(batch, use(keeping: false)) { compiled in
      kept.batches = 0
      count += 1
      compiled.scalars.noteRun()
    }
  }

  /// Computes the gradients of a batch and keeps them for the next ``run(_:)``, whose update is then that of one batch
  /// which holds all examples: gradients are summed with what each loss is a mean over, its valid labels or its
  /// examples, and divided by their sum.
  ///
  /// No parameter changes, nor the count, and `follow` does nothing; buffers such as running means do change, as
  /// in PyTorch, batch by batch. So a model with batch normalisation learns a little otherwise than with the large
  /// batch. Clipping looks at the whole. It takes as much memory as the parameters.
  ///
  /// - Throws: as ``run(_:)``; `unsupported` where a rule is lazy (`Adam(lazy: true)`); `invalidArgument` where
  ///   something was frozen or unfrozen since the first batch of this update.
  @discardableResult
  public func accumulate(_ batch: Batch) throws -> StepResult {
    try take(batch, use(keeping: true)) { compiled in
      kept.batches += 1
      kept.learners = compiled.learners
    }
  }

  /// What becomes of the next batch's gradients.
  private func use(keeping: Bool) -> GradientUse {
    kept.batches == 0
      ? (keeping ? .keepsFirst : .updates) : (keeping ? .keeps : .updatesWithKept)
  }

  /// The batches whose gradients wait for the next ``run(_:)``.
  public var accumulatedBatches: Int { kept.batches }

  /// Forgets the gradients that wait.
  public func discardAccumulated() { kept.forget() }

  /// - `done`: hears of a run that was complete.
  private func take(
    _ batch: Batch, _ use: GradientUse, done: (Compiled) -> Void
  ) throws -> StepResult {
    guard let parallel else { return try takeOwn(batch, use, done: done) }
    return try parallel.step {
      parallel.share.setScalar(batch.isCounted ? Float(max(batch.count, 1)) : 0)
      return try takeOwn(batch, use, done: done)
    }
  }

  private func takeOwn(
    _ batch: Batch, _ use: GradientUse, done: (Compiled) -> Void
  ) throws -> StepResult {
    let compiled =
      if let last, last.use == use, last.isMade(for: batch), last.fits { last } else {
        try compiled(batch.checked(at: location).fields, use)
      }
    try batch.requireExamples(at: location)
    if use == .keeps || use == .updatesWithKept, compiled.learners != kept.learners {
      throw ApusError(
        .invalidArgument,
        "what is trained has changed since the first of \(kept.batches + 1) batches of one update",
        at: location, expected: "freeze and unfreeze between updates, or discardAccumulated()")
    }
    try compiled.scalars.set(at: count)
    var result: StepResult?
    var bad: (name: String, value: Double)?
    do {
      try compiled.executable.attempt(batch.arrays) { results, isComplete in
        if isComplete {
          result = StepResult(results, compiled.layout)
        } else {
          bad = compiled.layout.required.lazy.map { ($0.name, results.number($0.value)) }
            .first { !$0.1.isFinite }
        }
      }
    } catch let error as ApusError where error.kind == .outOfRange {
      throw try parallel.map { try $0.told(error.located(at: location)) } ?? error
    }
    guard let result else { return try stopped(bad, batch, compiled.considered) }
    done(compiled)
    return result
  }

  /// The compiled step for batches like this one, compiled now where it is new.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func executable(for batch: Batch) throws -> Executable {
    try compiled(batch.checked(at: location).fields, .updates).executable
  }

  /// Compiles what `run`, or `accumulate`, is going to do with such a batch.
  func prepare(for batch: Batch, accumulating: Bool) throws {
    _ = try compiled(batch.checked(at: location).fields, use(keeping: accumulating))
  }

  /// The step's graph as it is recorded, before any pass: forward, backward, update.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func graph(for fields: [BatchField]) throws -> Graph {
    try record(fields, slots, kept, .updates).trace.finish()
  }

  // MARK: Checkpoints

  /// The batch that it ran on last; nil before the first.
  var fields: [BatchField]? { last?.fields ?? outline?.fields }

  /// Records the step for such batches, with slots of its own: nothing of the step changes.
  ///
  /// - Returns: what the recording tells, and slots as the optimisers ask for them.
  /// - Throws: mistakes of the model, with module path and line.
  func rehearse(_ fields: [BatchField]) throws -> (outline: StepOutline, slots: OptimizerSlots) {
    let slots = OptimizerSlots()
    let (trace, recorder, _) = try record(fields, slots, KeptGradients(), .updates)
    return (StepOutline(fields, trace, recorder), slots)
  }

  /// Goes on as the step that a checkpoint was made of. What is compiled is forgotten: its slots are others.
  ///
  /// - `key`: of the random numbers, `i64[2]`.
  /// - Throws: `shapeMismatch` for another key; nothing is changed then.
  func goOn(
    from outline: StepOutline?, _ slots: OptimizerSlots, _ kept: KeptGradients, count: Int,
    key: NDArray
  ) throws {
    try random.cell.set(key)
    self.kept = kept
    self.outline = outline
    self.slots = slots
    self.count = count
    last = nil
    inquiry = nil
    shapes.removeAll()
  }

  /// Brings the counts of updates up to date.
  func settleCounters() { last?.scalars.settle() }

  // MARK: Compiling

  private final class Compiled {
    let fields: [BatchField]
    let use: GradientUse
    let executable: Executable
    let layout: ResultLayout
    let scalars: HostScalars
    let considered: [Parameter]
    /// Whose gradients are kept.
    let learners: Set<OptimizerSlots.Key>
    private let assumptions: Assumptions

    init(
      _ fields: [BatchField], _ executable: Executable, _ layout: ResultLayout,
      _ recorder: StepRecorder, _ assumptions: Assumptions
    ) {
      self.fields = fields
      self.executable = executable
      self.layout = layout
      use = recorder.use
      scalars = recorder.scalars
      considered = recorder.considered
      learners = recorder.learners
      self.assumptions = assumptions
    }

    /// Whether a batch has these names and types. In every step: without making a list of its fields.
    func isMade(for batch: Batch) -> Bool {
      guard batch.names.count == fields.count, batch.arrays.count == fields.count else {
        return false
      }
      for index in fields.indices {
        guard batch.arrays[index].type == fields[index].type,
          batch.names[index] == fields[index].name
        else { return false }
      }
      return true
    }

    /// Whether what is frozen is what it was when this was recorded.
    var fits: Bool { assumptions.hold }
  }

  /// What looks closer at batches on which the step came to nothing; kept where it may be asked often.
  var inquiry: InquiryGraph?

  /// What ran last.
  private var last: Compiled?
  /// Whether it has been said that something of the batches is not read.
  private var hasWarned = false

  private func compiled(_ fields: [BatchField], _ use: GradientUse) throws -> Compiled {
    if let last, last.use == use, last.fields == fields, last.fits { return last }
    last?.scalars.settle()
    last = nil
    let compiled = try shapes.entry(
      for: fields,
      where: {
        $0.use == use && $0.fits && $0.scalars.catchesUp()
      }
    ) {
      let freezes = Assumptions.now
      let (trace, recorder, layout) = try record(fields, slots, kept, use)
      recorder.batch.warnOfUnread("a training step", unlessAlready: &hasWarned, at: location)
      let executable = try Executable(
        recorded: trace, random: random, options: compileOptions, arena: shapes.arena)
      outline = StepOutline(fields, trace, recorder, after: outline)
      return Compiled(
        fields, executable, layout, recorder, Assumptions(of: trace, from: freezes))
    }
    last = compiled
    return compiled
  }

  /// Runs the closure on the inputs of a new trace, and `finish` on what it has recorded.
  func recording<R>(
    _ fields: [BatchField], _ slots: OptimizerSlots, _ kept: KeptGradients, _ use: GradientUse,
    _ finish: (Trace, StepRecorder) throws -> R
  ) throws -> (trace: Trace, recorder: StepRecorder, R) {
    let trace = Trace(at: location)
    trace.mode = .training
    trace.rank = parallel?.processes.rank ?? 0
    trace.updatesParameters = use == .updates || use == .updatesWithKept
    return try Trace.$current.withValue(trace) {
      let batch = SymbolicBatch(trace, fields)
      let recorder = StepRecorder(
        trace, batch, slots: slots, kept: kept, use: use, parallel: parallel)
      try body(recorder, batch)
      try trace.check()
      let result = try finish(trace, recorder)
      try trace.check()
      return (trace, recorder, result)
    }
  }

  private func record(
    _ fields: [BatchField], _ slots: OptimizerSlots, _ kept: KeptGradients, _ use: GradientUse
  ) throws -> (trace: Trace, recorder: StepRecorder, layout: ResultLayout) {
    try recording(fields, slots, kept, use) { trace, recorder in
      guard !recorder.losses.isEmpty else {
        throw ApusError(
          .invalidArgument, "the step minimizes nothing", expected: "a call of step.minimize")
      }
      recorder.joinStatistics()
      recorder.joinNumbers(metrics: reportsMetrics)
      trace.advanceRandomKey()
      return ResultLayout(
        trace, losses: recorder.losses, recorder.batch.reports, metrics: reportsMetrics,
        weights: parallel != nil, required: recorder.norms)
    }
  }
}

extension Batch {
  /// Names and types of the arrays.
  var fields: [BatchField] { zip(names, arrays).map { BatchField($0, $1.type) } }

  /// This batch, where it has a name for each array.
  ///
  /// - `location`: of the closure that it is for.
  /// - Throws: `missing` otherwise.
  func checked(at location: String) throws -> Batch {
    guard names.count == arrays.count else {
      throw ApusError(
        .missing, "the batch has \(names.count) names for \(arrays.count) arrays", at: location,
        expected: "a name for each array")
    }
    return self
  }
  /// - Throws: `shapeMismatch` where there are arrays, and no examples in them.
  func requireExamples(at location: String) throws {
    guard count > 0 || arrays.isEmpty else {
      throw ApusError(
        .shapeMismatch, "a batch of 0 examples", at: location, expected: "at least one")
    }
  }
}
