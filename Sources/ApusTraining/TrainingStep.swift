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
  /// Other rules for parameters whose paths match a pattern; see ``ParameterGroups``.
  public var groups: ParameterGroups
  /// Whether metrics are computed in training steps too, not only in evaluation.
  public var trainingMetrics = false
  /// Whether each step tells the joint norm of its gradients, ``StepResult/gradientNorm``, also where nothing is
  /// clipped.
  public var reportsGradientNorm = false

  public init(
    clipNorm: Double? = nil, groups: ParameterGroups = [:], trainingMetrics: Bool = false,
    reportsGradientNorm: Bool = false
  ) {
    self.clipNorm = clipNorm
    self.groups = groups
    self.trainingMetrics = trainingMetrics
    self.reportsGradientNorm = reportsGradientNorm
  }
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
/// A step is used by one task at a time.
public final class TrainingStep {
  /// Records the step: calls models and `step.minimize`.
  public typealias Body = (_ step: StepRecorder, _ batch: SymbolicBatch) throws -> Void

  /// Steps taken so far; schedules and bias corrections count them from 0 on.
  public package(set) var count = 0
  private(set) var slots = OptimizerSlots()
  let random: RandomSource
  /// What the recordings so far tell of the step.
  private(set) var outline: StepOutline?
  private let compileOptions: CompileOptions
  private let reportsMetrics: Bool
  private let body: Body
  /// Of the body.
  private let location: String
  private let shapes = CompiledShapes<Compiled>("a training step")

  /// - `seed`: of dropout and all other random numbers in the step; equal seeds and batches give equal
  ///   bits, whatever the number of threads.
  /// - `reportsMetrics`: whether what `batch.report` notes is computed.
  /// - `body`: nothing is recorded before the first batch.
  public init(
    seed: UInt64 = 0, compile: CompileOptions = CompileOptions(), reportsMetrics: Bool = true,
    file: StaticString = #fileID, line: UInt = #line, _ body: @escaping Body
  ) throws {
    location = sourceLocation(file, line)
    random = try RandomSource(seed: seed)
    compileOptions = compile
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
    if let norm = options.clipNorm, !(norm > 0) {
      throw ApusError(.invalidArgument, "clipNorm is \(norm)", expected: "a number above 0")
    }
    try self.init(
      seed: seed, compile: compile, reportsMetrics: options.trainingMetrics, file: file, line: line
    ) { step, batch in
      let learner: any Module = part ?? model
      step.minimize(
        try loss(model, batch), over: learner, with: optimizer, groups: options.groups,
        clipNorm: options.clipNorm, reportsNorm: options.reportsGradientNorm, file: file,
        line: line)
      afterwards()
    }
  }

  // MARK: Running

  /// Takes one step.
  ///
  /// - Throws: mistakes of the model, with module path and line; `shapeMismatch` for a batch without
  ///   examples; `outOfRange` for a bad label; `nonFinite` where a loss or a gradient is NaN or infinite (see
  ///   `checksGradients` of `StepRecorder.minimize`). In all these cases nothing has changed: neither a parameter nor a slot,
  ///   a buffer, the random key or the count. A batch in which all labels are ignored has loss 0 and changes
  ///   nothing either; its result says so.
  @discardableResult
  public func run(_ batch: Batch) throws -> StepResult {
    let compiled =
      if let last, last.isMade(for: batch), last.fits { last } else {
        try compiled(batch.checked(at: location).fields)
      }
    try batch.requireExamples(at: location)
    try compiled.scalars.set(at: count)
    var result: StepResult?
    var bad: (name: String, value: Double)?
    try compiled.executable.attempt(batch.arrays) { results, isComplete in
      if isComplete {
        result = StepResult(results, compiled.layout)
      } else {
        bad = compiled.layout.required.lazy.map { ($0.name, results.number($0.value)) }
          .first { !$0.1.isFinite }
      }
    }
    guard let result else { return try stopped(bad, batch) }
    count += 1
    compiled.scalars.noteRun()
    return result
  }

  /// The compiled step for batches like this one, compiled now where it is new.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func executable(for batch: Batch) throws -> Executable {
    try compiled(batch.checked(at: location).fields).executable
  }

  /// The step's graph as it is recorded, before any pass: forward, backward, update.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func graph(for fields: [BatchField]) throws -> Graph {
    try record(fields, slots).trace.finish()
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
    let (trace, recorder, _) = try record(fields, slots)
    return (StepOutline(fields, trace, recorder, slots), slots)
  }

  /// Goes on as the step that a checkpoint was made of. What is compiled is forgotten: its slots are others.
  ///
  /// - `key`: of the random numbers, `i64[2]`.
  /// - Throws: `shapeMismatch` for another key; nothing is changed then.
  func goOn(from outline: StepOutline?, _ slots: OptimizerSlots, count: Int, key: NDArray) throws {
    try random.cell.set(key)
    self.outline = outline
    self.slots = slots
    self.count = count
    last = nil
    shapes.removeAll()
  }

  /// Brings the counts of updates up to date.
  func settleCounters() { last?.scalars.settle() }

  // MARK: Compiling

  private final class Compiled {
    let fields: [BatchField]
    let executable: Executable
    let layout: ResultLayout
    let scalars: HostScalars
    let considered: [Parameter]
    private let assumptions: Assumptions

    init(
      _ fields: [BatchField], _ executable: Executable, _ layout: ResultLayout,
      _ scalars: HostScalars, _ considered: [Parameter], _ assumptions: Assumptions
    ) {
      self.fields = fields
      self.executable = executable
      self.layout = layout
      self.scalars = scalars
      self.considered = considered
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

  /// What ran last.
  private var last: Compiled?
  /// Whether it has been said that something of the batches is not read.
  private var hasWarned = false

  private func compiled(_ fields: [BatchField]) throws -> Compiled {
    if let last, last.fields == fields, last.fits { return last }
    last?.scalars.settle()
    last = nil
    let compiled = try shapes.entry(for: fields, where: { $0.fits && $0.scalars.catchesUp() }) {
      let freezes = Assumptions.now
      let (trace, recorder, layout) = try record(fields, slots)
      recorder.batch.warnOfUnread("a training step", unlessAlready: &hasWarned, at: location)
      let executable = try Executable(
        recorded: trace, random: random, options: compileOptions, arena: shapes.arena)
      outline = StepOutline(fields, trace, recorder, slots, after: outline)
      return Compiled(
        fields, executable, layout, recorder.scalars, recorder.considered,
        Assumptions(of: trace, from: freezes))
    }
    last = compiled
    return compiled
  }

  /// Runs the closure on the inputs of a new trace, and `finish` on what it has recorded.
  private func recording<R>(
    _ fields: [BatchField], _ slots: OptimizerSlots,
    _ finish: (Trace, StepRecorder) throws -> R
  ) throws -> (trace: Trace, recorder: StepRecorder, R) {
    let trace = Trace(at: location)
    trace.mode = .training
    return try Trace.$current.withValue(trace) {
      let batch = SymbolicBatch(trace, fields)
      let recorder = StepRecorder(trace, batch, slots: slots)
      try body(recorder, batch)
      try trace.check()
      let result = try finish(trace, recorder)
      try trace.check()
      return (trace, recorder, result)
    }
  }

  private func record(
    _ fields: [BatchField], _ slots: OptimizerSlots
  ) throws -> (trace: Trace, recorder: StepRecorder, layout: ResultLayout) {
    try recording(fields, slots) { trace, recorder in
      guard !recorder.losses.isEmpty else {
        throw ApusError(
          .invalidArgument, "the step minimizes nothing", expected: "a call of step.minimize")
      }
      trace.advanceRandomKey()
      return ResultLayout(
        trace, losses: recorder.losses, recorder.batch.reports, metrics: reportsMetrics,
        weights: false, required: recorder.norms)
    }
  }

  // MARK: Steps that change nothing

  /// What a run that was not complete comes to.
  ///
  /// - `bad`: the first number that must be finite and is not.
  private func stopped(
    _ bad: (name: String, value: Double)?, _ batch: Batch
  ) throws -> StepResult {
    let (weight, gradients) = try inquire(batch)
    if weight == 0 {
      var result = StepResult(loss: 0)
      result.wasSkipped = true
      return result
    }
    let inquiry = Inquiry(
      batch, step: count, parameters: last?.considered ?? [], gradients: gradients)
    throw inquiry.error(bad?.name ?? "loss", bad?.value ?? .nan).located(at: location)
  }

  /// Records the step once more to look closer at a batch that it came to nothing on: what the loss is a mean
  /// over, where it says so, and the greatest magnitude in each gradient. Nothing is changed.
  private func inquire(
    _ batch: Batch
  ) throws -> (lossWeight: Double?, gradients: [(path: String, magnitude: Double)]) {
    var paths: [String] = []
    let (trace, _, hasWeight) = try recording(batch.fields, slots) { trace, recorder in
      for (path, gradient) in recorder.minimizations.flatMap(\.gradients) {
        trace.output("gradient \(paths.count)", magnitudeBound([gradient]))
        paths.append(path)
      }
      let weight = recorder.losses.first.flatMap { trace.weight(ofMean: $0.value) }
      if let weight { trace.output("weight", weight) }
      return weight != nil
    }
    var graph = try trace.finish()
    graph.assignments = []
    var options = compileOptions
    // Of gradients that are products the products themselves are looked at.
    options.disabledPasses.insert("bound-by-factors")
    let states = try StateStore(of: trace, random: random.cell)
    let executable: Executable
    do {
      executable = try Executable(graph, states: states, options: options)
    } catch let error as ApusError where error.kind == .resource && options.memoryLimit != nil {
      // Other values come together in it. What is wrong with the batch is worth the memory, once.
      options.memoryLimit = nil
      executable = try Executable(graph, states: states, options: options)
    }
    let numbers = try executable.run(batch.arrays).map(\.scalar)
    return (hasWeight ? numbers.last : nil, Array(zip(paths, numbers)))
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
