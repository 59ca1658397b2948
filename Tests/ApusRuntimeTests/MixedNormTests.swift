// `Precision.mixed` where rows are looked up and normalised between products: what is stored as bf16, what
// that costs in accuracy, the same bits on any team.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct MixedNormTests {
  static let levels = Environment.availableISAs
  static let rows = 96
  static let width = 80

  /// A step of gradient descent: embedding, linear and GELU, layer norm, linear, residual, RMS norm,
  /// linear, cross-entropy.
  static func step() throws -> Graph {
    let trace = Trace()
    try Trace.$current.withValue(trace) {
      let tokens = trace.input("tokens", .i32(rows))
      let labels = trace.input("labels", .i32(rows))
      let table = trace.state("table", .f32(50, width))
      let weights = (0..<2).map { trace.state("w\($0)", .f32(width, width)) }
      let bias = trace.state("bias", .f32(width))
      let gammas = (0..<2).map { trace.state("gamma\($0)", .f32(width)) }
      let beta = trace.state("beta", .f32(width))
      let head = trace.state("head", .f32(width, 11))
      let x = embedding(tokens, table)
      let first = gelu(x.matmul(weights[0]) + bias)
      let second = layerNorm(first, gamma: gammas[0], beta: beta).matmul(weights[1]) + x
      let logits = rmsNorm(second, gamma: gammas[1]).matmul(head)
      let loss = crossEntropy(logits, labels)
      let parameters = [table, bias, beta, head] + weights + gammas
      for (parameter, gradient) in zip(
        parameters, gradients(of: loss, withRespectTo: parameters))
      {
        trace.assign(parameter, parameter - gradient)
      }
      trace.output("loss", loss)
      try trace.check()
    }
    return try trace.finish()
  }

  private let graph: Graph
  private let states: [(name: String, array: NDArray)]
  private let inputs: [NDArray]

  init() throws {
    graph = try Self.step()
    states = randomStates(graph, seed: "norms")
    inputs = [7, 3].map { step in
      NDArray((0..<Self.rows).map { Int32($0 * step % 11) }, shape: [Self.rows])
    }
  }

  private func executable(_ precision: Precision, isa: ISA? = nil, threads: Int? = nil) throws
    -> Executable
  {
    try Executable(
      graph, states: store(states),
      options: CompileOptions(
        isa: isa, threads: threads,
        enabledPasses: precision == .mixed ? [NarrowStorage.name] : [], precision: precision))
  }

  /// The loss and the parameters after a step.
  private func results(_ executable: Executable) throws -> [NDArray] {
    try executable.run(inputs) + states.map { try executable.states.array($0.name) }
  }

  @Test func rowsBetweenNodesAreNarrow() throws {
    let narrow = try optimised(graph, options: PassOptions(enabled: [NarrowStorage.name]))
    #expect(try Graph(parsing: narrow.description, ops: .all) == narrow)
    for name in [
      "gather", "layer_norm", "layer_norm_gradient", "rms_norm", "rms_norm_gradient",
    ] {
      let nodes = narrow.nodes.filter { $0.op.mnemonic == name }
      #expect(!nodes.isEmpty)
      for node in nodes {
        let types =
          (node.operands.map { narrow.type(of: $0) })
          + node.results.map { narrow.type(of: $0) }
        #expect(types.contains { $0.dtype == .bf16 }, "\(name)")
        // Statistics, parameters and their gradients are f32.
        #expect(types.allSatisfy { $0.dtype != .bf16 || $0.shape == [Self.rows, Self.width] })
      }
    }
    let bytes = [try optimised(graph), narrow].map { graph in
      graph.nodes.flatMap(\.results).reduce(0) {
        let type = graph.type(of: $1)
        return $0 + (type.shape == [Self.rows, Self.width] ? type.byteCount : 0)
      }
    }
    #expect(Double(bytes[1]) < 0.6 * Double(bytes[0]))
    let arenas = try [Precision.highest, .mixed].map { try executable($0).memory.arena }
    #expect(Double(arenas[1]) < 0.8 * Double(arenas[0]))
  }

  @Test("Gradients are near those of f32, and those of the interpreter", arguments: levels)
  func gradientsAreNear(isa: ISA) throws {
    let narrow = try optimised(graph, options: PassOptions(enabled: [NarrowStorage.name]))
    let interpreted = try narrow.interpret(
      inputs: inputs, states: states.map(\.array), widened: false)
    let mixed = try results(executable(.mixed, isa: isa))
    let highest = try results(executable(.highest, isa: isa))
    #expect(mixed != highest)
    for (wanted, bound) in [
      (highest, 0.04), (interpreted.outputs + interpreted.states, 0.04),
    ] {
      #expect(abs(mixed[0].scalar / wanted[0].scalar - 1) < 0x1p-7)
      for (index, state) in states.enumerated() {
        let (found, right) = (mixed[index + 1].doubles, wanted[index + 1].doubles)
        let origin = state.array.doubles
        let off = zip(found, right).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let step = zip(origin, right).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        #expect((off / step).squareRoot() < bound, "\(state.name)")
      }
    }
  }

  @Test(arguments: levels) func theBitsAreTheSameOnAnyTeam(isa: ISA) throws {
    let one = try results(executable(.mixed, isa: isa, threads: 1))
    for threads in [2, 7] {
      #expect(try results(executable(.mixed, isa: isa, threads: threads)) == one)
    }
  }
}
