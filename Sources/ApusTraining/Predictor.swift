// A trained model in use: arrays in, arrays out.

import ApusGraph
import ApusNN
import ApusRuntime

/// A function of a model's parameters and some arrays, compiled for evaluation.
///
///     let classify = try Predictor(trainer.model) { model, x in softmax(model(x), axis: -1) }
///     let probabilities = try classify(images)          // f32[n,784] → f32[n,10]
///
/// Layers behave as in evaluation: nothing is dropped, nothing is changed. It reads the parameters where
/// training keeps them, so that it always predicts with their newest values.
///
/// A graph is compiled when arrays of new types come, and the last eight are kept: feed batches of a few
/// sizes rather than of every size.
public final class Predictor<Model: Module> {
  /// Maps the model and the symbolic arguments to the results.
  public typealias Function = (Model, [Tensor]) throws -> [Tensor]

  public let model: Model
  public let states: StateStore
  private let compileOptions: CompileOptions
  private let function: Function
  /// Used longest ago first.
  private var compiled: [(types: [TensorType], executable: Executable)] = []
  private static var capacity: Int { 8 }

  /// - `function`: any number of tensors to any number of tensors; nothing is recorded before the first
  ///   call.
  /// - Throws: `missing` where the model has not been initialised.
  public init(
    _ model: Model, compile: CompileOptions = CompileOptions(), function: @escaping Function
  ) throws {
    self.model = model
    states = try model.states()
    compileOptions = compile
    self.function = function
  }

  /// A predictor from one array to one.
  ///
  /// - Throws: as the form for any number.
  public convenience init(
    _ model: Model, compile: CompileOptions = CompileOptions(),
    function: @escaping (Model, Tensor) throws -> Tensor
  ) throws {
    try self.init(model, compile: compile) { model, arguments in
      guard arguments.count == 1 else {
        throw ApusError(
          .invalidArgument, "\(arguments.count) arrays for a predictor of one",
          expected: "one array")
      }
      return [try function(model, arguments[0])]
    }
  }

  /// All results for these arrays.
  ///
  /// - Throws: mistakes of the model for arrays of these types, with module path and line; while running,
  ///   `outOfRange` for an index outside its table.
  public func run(_ arguments: [NDArray]) throws -> [NDArray] {
    try executable(for: arguments.map(\.type)).run(arguments)
  }

  /// The one result for these arrays.
  ///
  /// - Throws: as ``run(_:)``; `invalidArgument` where the function has several results.
  public func callAsFunction(_ arguments: NDArray...) throws -> NDArray {
    let results = try run(arguments)
    guard results.count == 1 else {
      throw ApusError(
        .invalidArgument, "the function has \(results.count) results", expected: "one, or run(_:)")
    }
    return results[0]
  }

  /// The compiled function for arguments of these types, compiled now where it is new.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func executable(for types: [TensorType]) throws -> Executable {
    if let index = compiled.firstIndex(where: { $0.types == types }) {
      let entry = compiled.remove(at: index)
      compiled.append(entry)
      return entry.executable
    }
    let graph = try evaluationGraph(model, arguments: types, function)
    let executable = try Executable(graph, states: states, options: compileOptions)
    if compiled.count == Self.capacity { compiled.removeFirst() }
    compiled.append((types, executable))
    return executable
  }
}

/// Records a function of a model in evaluation, nothing changed: inputs `argument0`, …, outputs
/// `result0`, ….
///
/// - Throws: the first mistake of the model, with module path and line.
public func evaluationGraph<Model: Module>(
  _ model: Model, arguments types: [TensorType], _ function: Predictor<Model>.Function
) throws -> Graph {
  let trace = Trace()
  trace.isTraining = false
  try Trace.$current.withValue(trace) {
    let arguments = types.enumerated().map { trace.input("argument\($0)", $1) }
    for (index, result) in try function(model, arguments).enumerated() {
      trace.output("result\(index)", result)
    }
    try trace.check()
  }
  return try trace.finish()
}
