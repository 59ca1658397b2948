// A trained model in use: arrays in, arrays out.

import ApusGraph
import ApusNN
import ApusRuntime

/// A function of a model's parameters and some arrays, compiled as arrays of new types come.
///
///     let classify = try Predictor(trainer.model) { model, x in softmax(model(x), axis: -1) }
///     let probabilities = try classify(images)          // f32[n,784] → f32[n,10]
///
/// Layers behave as in evaluation, unless `mode` says otherwise. It reads the parameters where training
/// keeps them, so that it always predicts with their newest values. Random numbers are others in each call:
///
///     let sample = try Predictor(vae, seed: 7) { vae, x in vae.decoder(.randomNormal([8, 20])) }
///
/// A graph is compiled when arrays of new types come, and the last ones are kept: feed batches of a few
/// sizes rather than of every size.
public final class Predictor<Model: Module> {
  /// Maps the model and the symbolic arguments to the results.
  public typealias Function = (Model, [Tensor]) throws -> [Tensor]

  public let model: Model
  private let mode: Mode
  private let random: RandomSource
  private let compileOptions: CompileOptions
  private let function: Function
  /// Of the function.
  private let location: String
  private let shapes = CompiledShapes<Compiled>("a predictor")
  /// What ran last: most calls are for arrays of the same types, and a small model takes less than a
  /// microsecond.
  private var latest: Compiled?

  private struct Compiled {
    var executable: Executable
    var assumptions: Assumptions
  }

  /// - `mode`: `.training` keeps dropout at work, as Monte Carlo dropout wants it.
  /// - `seed`: of the random numbers that the function draws.
  /// - `function`: any number of tensors to any number of tensors; nothing is recorded before the first
  ///   call.
  /// - Throws: `missing` where the model has not been initialised.
  public init(
    _ model: Model, mode: Mode = .evaluation, seed: UInt64 = 0,
    compile: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line,
    function: @escaping Function
  ) throws {
    location = sourceLocation(file, line)
    try model.requireInitialized(at: location)
    self.model = model
    self.mode = mode
    random = try RandomSource(seed: seed)
    compileOptions = compile
    self.function = function
  }

  /// A predictor from one array to one.
  ///
  /// - Throws: as the form for any number.
  public convenience init(
    _ model: Model, mode: Mode = .evaluation, seed: UInt64 = 0,
    compile: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line,
    function: @escaping (Model, Tensor) throws -> Tensor
  ) throws {
    try self.init(model, mode: mode, seed: seed, compile: compile, file: file, line: line) {
      model, arguments in
      guard arguments.count == 1 else {
        throw ApusError(
          .invalidArgument, "\(arguments.count) arrays for a predictor of one",
          at: sourceLocation(file, line), expected: "one array")
      }
      return [try function(model, arguments[0])]
    }
  }

  /// All results for these arrays.
  ///
  /// - Throws: mistakes of the model for arrays of these types, with module path and line; `dtypeMismatch`
  ///   naming an array of doubles, which kernels do not compute with; while running,
  ///   `outOfRange` for an index outside its table.
  public func run(_ arguments: [NDArray]) throws -> [NDArray] {
    if let latest, latest.executable.takes(arguments), latest.assumptions.hold {
      return try latest.executable.run(arguments)
    }
    let compiled = try compiled(for: arguments.map(\.type))
    latest = compiled
    return try compiled.executable.run(arguments)
  }

  /// The one result for these arrays.
  ///
  /// - Throws: as ``run(_:)``; `invalidArgument` where the function has several results.
  public func callAsFunction(_ arguments: NDArray...) throws -> NDArray {
    let results = try run(arguments)
    guard results.count == 1 else {
      throw ApusError(
        .invalidArgument, "the function has \(results.count) results", at: location,
        expected: "one, or run(_:)")
    }
    return results[0]
  }

  /// Starts the random numbers again with a seed.
  public func reseed(_ seed: UInt64) throws { try random.reset(seed: seed) }

  /// The compiled function for arguments of these types, compiled now where it is new.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func executable(for types: [TensorType]) throws -> Executable {
    try compiled(for: types).executable
  }

  private func compiled(for types: [TensorType]) throws -> Compiled {
    let fields = types.enumerated().map { BatchField("argument\($0)", $1) }
    return try shapes.entry(for: fields, where: { $0.assumptions.hold }) {
      let freezes = Assumptions.now
      let trace = try record(fields)
      let executable = try Executable(
        recorded: trace, random: random, options: compileOptions, arena: shapes.arena)
      return Compiled(
        executable: executable, assumptions: Assumptions(of: trace, from: freezes))
    }
  }

  /// The graph of the function for arguments of these types: inputs `argument0`, …, outputs `result0`, ….
  ///
  /// - Throws: mistakes of the model, with module path and line.
  public func graph(for types: [TensorType]) throws -> Graph {
    try record(types.enumerated().map { BatchField("argument\($0)", $1) }).finish()
  }

  private func record(_ fields: [BatchField]) throws -> Trace {
    let trace = Trace(at: location)
    trace.mode = mode
    try Trace.$current.withValue(trace) {
      let arguments = fields.map { trace.input($0.name, $0.type) }
      for (index, result) in try function(model, arguments).enumerated() {
        trace.output("result\(index)", result)
      }
      trace.advanceRandomKey()
      try trace.check()
    }
    return trace
  }
}
