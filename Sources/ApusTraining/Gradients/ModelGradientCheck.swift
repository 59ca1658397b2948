// A model's gradients against finite differences in double.

import ApusAutodiff
import ApusData
import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// Checks the gradients of a loss by every parameter of a model that is trained, against central differences.
///
/// Everything runs in double through the interpreter; kernels take no part. So take a small model and a batch of a
/// few examples: a check evaluates the loss four times for each parameter, in plain loops. Layers behave as in
/// training, with the same random numbers each time; nothing is changed.
///
///     let model = Classifier(width: 8)
///     try model.initialize(seed: 1)
///     let check = try checkGradients(of: model, on: batch) { crossEntropy($0($1.image), $1.label) }
///     print(check)    // the parameters, the worst first
///
/// - `step`: of the differences, along a direction within [-1, 1] in every element of one parameter. A loss that has
///   a kink so near (a rectifier's) has no derivative there, and may be reported: try another seed.
/// - `tolerance`: the largest difference allowed, relative to the sum of the absolute products of gradient and
///   direction, or to 1e-4 of the loss (of 1, where that is larger).
/// - `seed`: of the directions, and of dropout and all other random numbers.
/// - `loss`: maps model and batch to one float, as a trainer's.
/// - Returns: what was compared, for each parameter.
/// - Throws: `invalidGraph` where a gradient is off, naming the parameter that is worst and both numbers; `missing`
///   where the model is not initialised; `shapeMismatch` for a batch without examples and a loss of several numbers;
///   `invalidArgument` where the loss reaches no parameter that is trained, and for a step or a tolerance that is not
///   positive; `outOfRange` for a bad label.
@discardableResult
public func checkGradients<Model: Module>(
  of model: Model, on batch: Batch, step: Double = 1e-5, tolerance: Double = 1e-5,
  seed: UInt64 = 0, file: StaticString = #fileID, line: UInt = #line,
  loss: LossFunction<Model>
) throws -> ModelGradientCheck {
  let location = sourceLocation(file, line)
  guard step > 0, step.isFinite, tolerance > 0 else {
    throw ApusError(
      .invalidArgument, "a step of \(step) and a tolerance of \(tolerance)", at: location,
      expected: "positive numbers")
  }
  try model.requireInitialized(at: location)
  let batch = try batch.checked(at: location)
  try batch.requireExamples(at: location)
  let random = try RandomSource(seed: seed)
  let whole = try LossGraph(
    model, batch, random, hasGradients: true, at: location, loss: loss)
  let value = try LossGraph(
    model, batch, random, hasGradients: false, at: location, loss: loss)
  let results = try whole.run()
  let scale = 1e-4 * max(abs(results[0].scalar), 1)
  let entries = try whole.parameters.enumerated().map { place, parameter in
    let direction = fixedNoise(
      results[place + 1].count, seed: seed, purpose: UInt64(place))
    var analytic = 0.0, size = 0.0
    for (u, g) in zip(direction, results[place + 1].doubles) {
      analytic += u * g
      size += abs(u * g)
    }
    func at(_ distance: Double) throws -> Double {
      try value.run(moving: parameter.cell, by: direction.map { distance * $0 })[0].scalar
    }
    // The five-point stencil: its error is h⁴·f⁽⁵⁾/30, so that rounding, ε·f/h, rules.
    let near = try at(step) - at(-step), far = try at(2 * step) - at(-2 * step)
    let numeric = (8 * near - far) / (12 * step)
    return ModelGradientCheck.Entry(
      path: parameter.path, analytic: analytic, numeric: numeric,
      error: abs(analytic - numeric) / max(size, scale))
  }
  let check = ModelGradientCheck(loss: results[0].scalar, parameters: entries)
  let wrong = entries.filter { !($0.error <= tolerance) }
  guard let worst = check.worst, !wrong.isEmpty else { return check }
  throw ApusError(
    .invalidGraph,
    "the gradient by '\(worst.path)' is \(worst.analytic) along a direction, where differences give "
      + "\(worst.numeric); \(wrong.count) of \(entries.count) parameters are off", at: location,
    expected: "a relative difference of at most \(tolerance), not \(worst.error)")
}

/// What a check of a model's gradients compared; see ``checkGradients(of:on:step:tolerance:seed:file:line:loss:)``.
public struct ModelGradientCheck: Sendable, CustomStringConvertible {
  /// The derivative of the loss along a direction of one parameter.
  public struct Entry: Sendable {
    /// The parameter's path in the model.
    public let path: String
    /// By the gradient.
    public let analytic: Double
    /// By differences.
    public let numeric: Double
    /// The relative difference of the two.
    public let error: Double
  }

  public let loss: Double
  /// In the model's order.
  public let parameters: [Entry]

  /// The parameter whose two numbers differ most; one that is not a number is worse than all others.
  public var worst: Entry? { ranked.first }

  private var ranked: [Entry] {
    func badness(_ entry: Entry) -> Double { entry.error.isNaN ? .infinity : entry.error }
    return parameters.sorted { badness($0) > badness($1) }
  }

  /// One line a parameter, the worst first.
  public var description: String {
    ranked.map { "\($0.path): \($0.analytic), by differences \($0.numeric), off by \($0.error)" }
      .joined(separator: "\n")
  }
}

/// The loss as a graph that the interpreter runs: its first output, and the gradients after it.
private struct LossGraph {
  struct Trained {
    var path: String
    var cell: StateCell
  }

  private let graph: Graph
  private let inputs: [NDArray]
  private let cells: [StateCell]
  private(set) var parameters: [Trained] = []

  init<Model: Module>(
    _ model: Model, _ batch: Batch, _ random: RandomSource, hasGradients: Bool, at location: String,
    loss: LossFunction<Model>
  ) throws {
    // Another model that holds this one may have named its parts since.
    ModelTree(model).name()
    let trace = Trace(at: location)
    trace.mode = .training
    parameters = try Trace.$current.withValue(trace) {
      let value = try loss(model, SymbolicBatch(trace, batch.fields))
      try trace.requireLoss(value, at: location)
      trace.output("loss", value.reshaped([]))
      return hasGradients ? try Self.differentiate(value, model, trace, location) : []
    }
    var graph = try trace.finish()
    graph.assignments = []
    self.graph = graph
    inputs = batch.arrays
    let store = try StateStore(of: trace, random: random.cell)
    cells = try graph.states.map { state in
      guard let cell = store.cell(state.name) else {
        throw ApusError(.missing, "state '\(state.name)' has no value", at: location)
      }
      return cell
    }
  }

  private static func differentiate<Model: Module>(
    _ value: Tensor, _ model: Model, _ trace: Trace, _ location: String
  ) throws -> [Trained] {
    var trained: [Trained] = []
    var tensors: [Tensor] = []
    for (path, parameter) in model.parameters where parameter.isTrainable {
      // A parameter that the loss sets anew on the way has its gradient at its first value.
      guard let cell = parameter.cell, let tensor = trace.versions(of: cell).first else { continue }
      trained.append(Trained(path: path, cell: cell))
      tensors.append(tensor)
    }
    var reached: [Trained] = []
    for (place, gradient) in try flows(of: value.reshaped([]), into: tensors).enumerated() {
      guard let gradient else { continue }
      trace.output("parameter \(reached.count)", gradient)
      reached.append(trained[place])
    }
    try trace.check()
    guard !reached.isEmpty else {
      throw ApusError(
        .invalidArgument, "no gradient of the loss reaches a trainable parameter of \(Model.self)",
        at: location, expected: "a loss computed by the model that is checked (is it a copy?)")
    }
    return reached
  }

  /// The outputs in double.
  ///
  /// - `moved`, `distance`: a state and what is added to its elements.
  func run(moving moved: StateCell? = nil, by distance: [Double] = []) throws -> [NDArray] {
    let states = cells.map { cell in
      guard cell === moved else { return cell.array }
      let array = cell.array
      return NDArray(
        doubles: zip(array.doubles, distance).map { $0 + $1 }, type: array.type.with(.f64))
    }
    return try graph.interpret(inputs: inputs, states: states).outputs
  }
}
