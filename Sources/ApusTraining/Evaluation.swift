// Compiled evaluation steps, and means over data sets.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

/// Loss and metrics of a model, in evaluation, compiled for the shapes of batches as they come.
///
///     let evaluation = try EvaluationStep(model) { crossEntropy($0($1.images), $1.labels) }
///     print(try evaluation.run(over: data.test.batched(1000)).loss)
///
/// Nothing is dropped and nothing is changed. Random numbers, where a loss draws any, start again with each
/// data set, so that one model has one figure.
public final class EvaluationStep<Model: Module> {
  private struct Compiled {
    var executable: Executable
    var layout: ResultLayout
    var assumptions: Assumptions
  }
  private let model: Model
  private let loss: LossFunction<Model>
  private let seed: UInt64
  /// Of the loss.
  private let location: String
  private let random: RandomSource
  private let compileOptions: CompileOptions
  private var hasWarned = false
  private let shapes = CompiledShapes<Compiled>("an evaluation")

  /// - `loss`: maps model and batch to one float; `batch.report` notes metrics.
  /// - Throws: `missing` where the model is not initialised.
  public init(
    _ model: Model, seed: UInt64 = 0, compile: CompileOptions = CompileOptions(),
    file: StaticString = #fileID, line: UInt = #line, loss: @escaping LossFunction<Model>
  ) throws {
    location = sourceLocation(file, line)
    try model.requireInitialized(at: location)
    self.model = model
    self.loss = loss
    self.seed = seed
    random = try RandomSource(seed: seed)
    compileOptions = compile
  }

  /// The loss and metrics of one batch.
  ///
  /// - Throws: mistakes of the model, with module path and line; `outOfRange` for a bad label.
  public func run(_ batch: Batch) throws -> StepResult {
    let compiled = try compiled(for: batch)
    var result = StepResult(loss: 0)
    // No number has to be finite here, so every run is complete.
    try compiled.executable.attempt(batch.arrays) { results, _ in
      result = StepResult(results, compiled.layout)
    }
    return result
  }

  /// Looks whether the first batch of a data set can be evaluated within the limit of memory, where there is
  /// one: a trainer asks before it trains. Batches of a validation are often larger than those of training.
  func checkMemory(for data: any BatchSource) throws {
    guard compileOptions.memoryLimit != nil, let batch = try data.makeIterator(epoch: 0).next()
    else { return }
    do {
      _ = try compiled(for: batch)
    } catch var error as ApusError where error.kind == .resource {
      error.what = "evaluation in batches of \(batch.count): \(error.what)"
      throw error
    }
  }

  private func compiled(for batch: Batch) throws -> Compiled {
    try shapes.entry(
      for: batch.checked(at: location).fields, where: { $0.assumptions.hold }
    ) {
      let freezes = Assumptions.now
      let (trace, batch, layout) = try record(batch.fields)
      batch.warnOfUnread("an evaluation", unlessAlready: &hasWarned, at: location)
      let executable = try Executable(
        recorded: trace, random: random, options: compileOptions, arena: shapes.arena)
      return Compiled(
        executable: executable, layout: layout, assumptions: Assumptions(of: trace, from: freezes))
    }
  }

  /// The means of loss and metrics over a data set. They do not depend on the size of its batches; see
  /// ``SymbolicBatch/report(_:_:weight:file:line:)``. Of several processes each evaluates its part of every batch, and
  /// all have the means over all.
  ///
  /// - Throws: `invalidArgument` for a source without examples, and as ``run(_:)``.
  public func run(over data: any BatchSource) throws -> StepResult {
    try random.reset(seed: seed)
    let company = RunCompany(compileOptions.processes)
    let iterator = try BatchThreads.$current.withValue(compileOptions.batchThreads) {
      try company.part(of: data).makeIterator(epoch: 0)
    }
    var total = ResultMean()
    var examples = 0
    while let batch = try iterator.next() {
      examples += batch.count
      if batch.isCounted { total.add(try run(batch), count: batch.count) }
    }
    guard examples > 0 else {
      throw ApusError(
        .invalidArgument, "the evaluation data is empty", expected: "at least one example")
    }
    return (company.processes.map(total.joined) ?? total).mean
  }

  /// The graph that evaluates batches with those fields.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func graph(for fields: [BatchField]) throws -> Graph { try record(fields).trace.finish() }

  private func record(
    _ fields: [BatchField]
  ) throws -> (trace: Trace, batch: SymbolicBatch, layout: ResultLayout) {
    let trace = Trace(at: location)
    trace.mode = .evaluation
    trace.rank = compileOptions.processes?.rank ?? 0
    return try Trace.$current.withValue(trace) {
      let batch = SymbolicBatch(trace, fields)
      let value = try loss(model, batch)
      try trace.requireLoss(value, at: location)
      trace.advanceRandomKey()
      let layout = ResultLayout(
        trace, losses: [("loss", value)], batch.reports, metrics: true, weights: true)
      try trace.check()
      return (trace, batch, layout)
    }
  }
}
