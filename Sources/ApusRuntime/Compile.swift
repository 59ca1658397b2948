// The engine alone: a closure over tensors becomes a function over arrays.

import ApusGraph

/// A compiled closure. A model that it calls is read where its parameters live, so that the newest values
/// count; random numbers are others in each call.
///
///     let f = try compile(.f32(64, 784), .f32(784, 10)) { x, w in softmax(x.matmul(w)) }
///     let probabilities: NDArray = try f(x, w)
public struct CompiledFunction: Sendable {
  public let executable: Executable
  private let random: RandomSource

  init(_ executable: Executable, _ random: RandomSource) {
    self.executable = executable
    self.random = random
  }

  /// Starts the random numbers again with a seed.
  public func reseed(_ seed: UInt64) throws { try random.reset(seed: seed) }

  /// The result for these arrays.
  ///
  /// - Throws: `missing`, `shapeMismatch` or `dtypeMismatch` naming the argument; see ``Executable/run(_:)-([NDArray])``.
  public func callAsFunction(_ arguments: NDArray...) throws -> NDArray {
    let results = try executable.run(arguments)
    guard results.count == 1 else {
      throw ApusError(
        .invalidArgument, "the function has \(results.count) results",
        expected: "one, or use [NDArray]")
    }
    return results[0]
  }

  /// All results for these arrays.
  ///
  /// - Throws: as for one result.
  @_disfavoredOverload
  public func callAsFunction(_ arguments: NDArray...) throws -> [NDArray] {
    try executable.run(arguments)
  }
}

/// Compiles a closure over any number of tensors.
///
///     let f = try compile([.f32(4), .f32(4)]) { [$0[0] + $0[1], $0[0] * $0[1]] }
///     let both: [NDArray] = try f(a, b)
///
/// - `mode`: how layers behave; dropout drops in `.training`.
/// - `seed`: of the random numbers that the closure draws.
/// - Throws: the first mistake in the closure, with its place; else `unsupported` where an op has no
///   kernel or the level is not available, `invalidArgument` for a bad option or environment variable,
///   `resource` where memory or threads are short or the arena would exceed the limit.
public func compile(
  _ types: [TensorType], mode: Mode = .training, seed: UInt64 = 0,
  options: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line,
  _ body: ([Tensor]) throws -> [Tensor]
) throws -> CompiledFunction {
  let trace = Trace(at: sourceLocation(file, line))
  trace.mode = mode
  try Trace.$current.withValue(trace) {
    let arguments = types.enumerated().map { trace.input("argument\($0)", $1) }
    for (index, result) in try body(arguments).enumerated() {
      trace.output("result\(index)", result)
    }
    trace.advanceRandomKey()
  }
  let random = try RandomSource(seed: seed)
  return CompiledFunction(
    try Executable(recorded: trace, random: random, options: options), random)
}

extension Executable {
  /// Compiles what a trace has recorded; its states are where it says that they live.
  ///
  /// - Throws: the first mistake made while recording, `dtypeMismatch` naming an input of doubles, else as the
  ///   form for a graph.
  package convenience init(
    recorded trace: Trace, random: RandomSource, options: CompileOptions, arena: Arena = Arena()
  ) throws {
    let graph = try trace.finish()
    let states = try StateStore(of: trace, random: random.cell)
    do {
      try self.init(graph, states: states, options: options, arena: arena)
    } catch let error as ApusError where error.kind == .unsupported {
      // Doubles come from the host, and what is computed of them is double too.
      let used = Set(graph.nodes.flatMap { $0.operands.map(\.value) })
      let doubles = graph.inputs.first {
        graph.type(of: $0.value).dtype == .f64 && used.contains($0.value)
      }
      guard let doubles else { throw error }
      let type = graph.type(of: doubles.value)
      throw ApusError(
        .dtypeMismatch, "input '\(doubles.name)' is \(type), and kernels compute in f32",
        at: error.location, expected: "\(type.with(.f32)): array.cast(to: .f32)")
    }
  }
}

/// Compiles a closure over one tensor.
///
/// - Throws: as ``compile(_:mode:seed:options:file:line:_:)-([TensorType],_,_,_,_,_,_)``.
public func compile(
  _ type: TensorType, mode: Mode = .training, seed: UInt64 = 0,
  options: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line,
  _ body: (Tensor) throws -> Tensor
) throws -> CompiledFunction {
  try compile([type], mode: mode, seed: seed, options: options, file: file, line: line) {
    [try body($0[0])]
  }
}

/// Compiles a closure over two tensors.
///
/// - Throws: as ``compile(_:mode:seed:options:file:line:_:)-([TensorType],_,_,_,_,_,_)``.
public func compile(
  _ a: TensorType, _ b: TensorType, mode: Mode = .training, seed: UInt64 = 0,
  options: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line,
  _ body: (Tensor, Tensor) throws -> Tensor
) throws -> CompiledFunction {
  try compile([a, b], mode: mode, seed: seed, options: options, file: file, line: line) {
    [try body($0[0], $0[1])]
  }
}

/// Compiles a closure over three tensors.
///
/// - Throws: as ``compile(_:mode:seed:options:file:line:_:)-([TensorType],_,_,_,_,_,_)``.
public func compile(
  _ a: TensorType, _ b: TensorType, _ c: TensorType, mode: Mode = .training, seed: UInt64 = 0,
  options: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line,
  _ body: (Tensor, Tensor, Tensor) throws -> Tensor
) throws -> CompiledFunction {
  try compile([a, b, c], mode: mode, seed: seed, options: options, file: file, line: line) {
    [try body($0[0], $0[1], $0[2])]
  }
}
