// One thing to time: what it computes and moves, how our side is made, what peers are told.

import Apus

/// A kernel at a shape, or a chain of them that is one graph.
package struct BenchmarkCase: Sendable {
  /// The family: `gemm`, `conv`, `attention`, `rnn`, `pool`, `eltwise`, `reduce`, `norm`, `softmax` or `optimizer`.
  package let bench: String
  /// `2048x2048x2048`, `12x128x128x64` (a batch), or an operation and its shape: `gelu 65536`.
  package let name: String
  /// What tables say instead, where the name alone does not tell the case from others.
  var label: String?
  /// Arithmetic operations of one run by the formula, a transcendental function counted as one.
  package let flops: Double
  /// Bytes of what has to be read and written once.
  package let bytes: Double
  /// What else tells the case from others, such as which operand is transposed.
  let settings: [(String, JSON)]
  /// What Benchmarks/peers/kernels.py is told.
  let peerCase: JSON
  let makeSide: @Sendable (BenchmarkOptions) throws -> any KernelSide

  /// Operations a byte.
  package var intensity: Double { flops / bytes }
  /// Whether its arithmetic is that of products, which have precisions.
  var hasProducts: Bool { ["gemm", "attention", "rnn"].contains(bench) || hasImages }
  /// Whether it reads `[n, h, w, channels]`.
  var hasImages: Bool { bench == "conv" }
}

/// Our side of a case.
protocol KernelSide: Side {
  /// The kernels that run, for the reader of the results.
  var kernelName: String { get }
}

/// An array that a case reads.
struct Operand: Sendable {
  enum Content: Sendable {
    /// Evenly spread over -2..<2.
    case numbers
    /// The same number everywhere.
    case constant(Float)
    /// Integers below that.
    case labels(Int)
    /// These integers.
    case given([Int])
  }

  var shape: Shape
  var content = Content.numbers
  /// Of numbers.
  var dtype = DType.f32

  init(_ shape: Shape, _ content: Content = .numbers, dtype: DType = .f32) {
    self.shape = shape
    self.content = content
    self.dtype = dtype
  }

  var type: TensorType {
    switch content {
    case .labels, .given: TensorType(.i32, shape)
    case .numbers, .constant: TensorType(dtype, shape)
    }
  }

  func array(seed: Int) -> NDArray {
    var state = UInt64(seed) &* 2 &+ 1
    func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state
    }
    switch content {
    case .numbers:
      return NDArray(
        (0..<shape.count).map { _ in
          Float(Int32(truncatingIfNeeded: next() >> 32)) * 0x1p-30
        }, shape: shape
      ).cast(to: dtype)
    case .constant(let value):
      return NDArray([Float](repeating: value, count: shape.count), shape: shape)
        .cast(to: dtype)
    case .labels(let count):
      return NDArray(
        (0..<shape.count).map { _ in Int32((next() >> 33) % UInt64(count)) }, shape: shape)
    case .given(let values):
      return NDArray(values.map { Int32($0) }, shape: shape)
    }
  }
}

/// A compiled graph from states to states, as the runtime runs it: nothing comes in or goes out, so that
/// no array is copied, and only the kernels run.
final class GraphSide: KernelSide {
  let name = "apus"
  let kernelName: String
  let executable: Executable

  /// - `updated`: how many of the first operands take the first results as their new values; the other
  ///   results go to states of their own.
  init(
    _ operands: [Operand], updated: Int = 0, _ options: BenchmarkOptions,
    _ body: ([Tensor]) -> [Tensor]
  ) throws {
    let trace = Trace()
    trace.mode = .training
    let states = StateStore()
    let tensors = operands.indices.map { trace.state("x\($0)", operands[$0].type) }
    try Trace.$current.withValue(trace) {
      for (index, result) in body(tensors).enumerated() {
        let state = index < updated ? tensors[index] : trace.state("y\(index)", result.type)
        trace.assign(state, result)
      }
      try trace.check()
    }
    let graph = try trace.finish()
    // Weights of a module that the body applies.
    for state in graph.states {
      if let cell = trace.stateOwners[state.name] as? StateCell {
        try states.link(state.name, cell)
      }
    }
    for (index, operand) in operands.enumerated() {
      try states.set("x\(index)", operand.array(seed: index))
    }
    for state in graph.states where states.type(of: state.name) == nil {
      try states.set(state.name, NDArray(zeros: graph.type(of: state.value)))
    }
    executable = try Executable(
      graph, states: states, options: CompileOptions(options))
    var names: [String] = []
    for step in executable.plan.steps where !names.contains(step.call.name) {
      names.append(step.call.name)
    }
    kernelName = names.joined(separator: "+")
  }

  func run(_ count: Int) throws -> Double {
    for _ in 0..<untimed(before: count) { _ = try executable.run([]) }
    return try seconds { for _ in 0..<count { _ = try executable.run([]) } }
  }
}
