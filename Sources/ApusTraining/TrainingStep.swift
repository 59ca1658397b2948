// Compiled steps: what `Trainer` runs, and what a user with their own loop runs.

import ApusGraph
import ApusNN
import ApusRuntime
import Foundation

/// A compiled training step of one batch signature.
///
///     let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1), batch: fields) {
///       crossEntropy($0($1.images), $1.labels)
///     }
///     let loss = try step.run([images, labels], at: 0).loss
///
/// Steps that share a `StateStore` train the same parameters.
public final class TrainingStep<Model: Module> {
  public let executable: Executable
  private let optimizer: any Optimizer
  private let metricNames: [String]
  private var arguments: [NDArray] = []

  /// Records and compiles the step. Optimiser slots are made in `states` where they are missing; the
  /// model must have been initialised in it.
  ///
  /// - Throws: mistakes of the model or the optimiser's settings; see `trainingGraph`.
  public init(
    _ model: Model, optimizer: some Optimizer, batch fields: [BatchField], states: StateStore,
    options: StepOptions = StepOptions(), compile: CompileOptions = CompileOptions(),
    loss: LossFunction<Model>
  ) throws {
    let graph = try trainingGraph(
      model, optimizer: optimizer, batch: fields, options: options, loss: loss)
    self.optimizer = optimizer
    metricNames = graph.outputs.dropFirst().map(\.name)
    executable = try Executable(graph, states: states, options: compile)
  }

  /// Runs step `index` (from 0 on, which schedules and bias corrections count) on one batch.
  ///
  /// - `batch`: arrays in the order of the fields.
  /// - Throws: `shapeMismatch` or `dtypeMismatch` for arrays of other types, `outOfRange` for a bad label,
  ///   `nonFinite` where the loss is NaN or infinite (the update has then already been made).
  public func run(_ batch: [NDArray], at index: Int) throws -> StepResult {
    arguments.removeAll(keepingCapacity: true)
    arguments.append(contentsOf: batch)
    for scalar in optimizer.scalars(at: index) { arguments.append(NDArray(Float(scalar))) }
    let results = try executable.run(arguments)
    let result = StepResult(results, metricNames)
    guard result.loss.isFinite else {
      throw ApusError(
        .nonFinite, "the loss is \(result.loss.isNaN ? "NaN" : "\(result.loss)") at step \(index)",
        expected: "a finite loss; a lower learning rate, or APUS_CHECK=nan to name the first op")
    }
    return result
  }
}

/// A compiled evaluation step of one batch signature.
public final class EvaluationStep<Model: Module> {
  public let executable: Executable
  private let metricNames: [String]

  /// - Throws: mistakes of the model; see `evaluationGraph`.
  public init(
    _ model: Model, batch fields: [BatchField], states: StateStore,
    compile: CompileOptions = CompileOptions(), loss: LossFunction<Model>
  ) throws {
    let graph = try evaluationGraph(model, batch: fields, loss: loss)
    metricNames = graph.outputs.dropFirst().map(\.name)
    executable = try Executable(graph, states: states, options: compile)
  }

  /// The loss and metrics of one batch.
  public func run(_ batch: [NDArray]) throws -> StepResult {
    StepResult(try executable.run(batch), metricNames)
  }
}

/// What a step reports.
public struct StepResult: Sendable {
  public var loss: Double
  public var metrics: [(name: String, value: Double)]

  /// - `metrics`: in the order in which they were reported.
  public init(loss: Double, metrics: [(name: String, value: Double)]) {
    self.loss = loss
    self.metrics = metrics
  }

  init(_ results: [NDArray], _ names: [String]) {
    self.init(
      loss: results[0].scalar, metrics: zip(names, results.dropFirst()).map { ($0, $1.scalar) })
  }

  public subscript(metric: String) -> Double? { metrics.first { $0.name == metric }?.value }
}
