// Batch normalisation between products, as in a residual network: what is bf16 in `Precision.mixed`, what that
// costs in accuracy, the same bits on any team.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct MixedBatchNormTests {
  static let levels = Environment.availableISAs
  static let width = 48
  static let image: Shape = [6, 4, 5, width]

  /// A step of gradient descent: product, batch norm, ReLU, product, batch norm, residual, ReLU, pooling, linear,
  /// cross-entropy; with a running mean.
  static func step() throws -> Graph {
    let trace = Trace()
    try Trace.$current.withValue(trace) {
      let x = trace.input("x", TensorType(.f32, image))
      let labels = trace.input("labels", .i32(6))
      let weights = (0..<2).map { trace.state("w\($0)", .f32(width, width)) }
      let gammas = (0..<2).map { trace.state("gamma\($0)", .f32(width)) }
      let betas = (0..<2).map { trace.state("beta\($0)", .f32(width)) }
      let running = trace.state("running", .f32(width))
      let head = trace.state("head", .f32(width, 7))
      let first = batchNorm(x.matmul(weights[0]), gamma: gammas[0], beta: betas[0])
      let second = batchNorm(
        relu(first.result).matmul(weights[1]), gamma: gammas[1], beta: betas[1])
      let pooled = relu(second.result + x).mean(axes: [1, 2])
      let loss = crossEntropy(pooled.matmul(head), labels)
      let parameters = weights + gammas + betas + [head]
      for (parameter, gradient) in zip(
        parameters, gradients(of: loss, withRespectTo: parameters))
      {
        trace.assign(parameter, parameter - gradient)
      }
      trace.assign(running, running * 0.9 + first.mean * 0.1)
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
    states = randomStates(graph, seed: "batch norms")
    var random = SplitMix("images")
    let x = NDArray(
      doubles: (0..<Self.image.count).map { _ in random.uniform(-1...1) },
      type: TensorType(.f32, Self.image))
    inputs = [x, NDArray([0, 1, 2, 3, 4, 5] as [Int32], shape: [6])]
  }

  private func results(
    _ precision: Precision, isa: ISA? = nil, threads: Int? = nil, disabled: Set<String> = []
  ) throws -> [NDArray] {
    let executable = try Executable(
      graph, states: store(states),
      options: CompileOptions(
        isa: isa, threads: threads, disabledPasses: disabled,
        enabledPasses: precision == .mixed ? [NarrowStorage.name] : [], precision: precision))
    return try executable.run(inputs) + states.map { try executable.states.array($0.name) }
  }

  @Test func rowsBetweenNodesAreNarrow_statisticsAreNot() throws {
    let narrow = try optimised(graph, options: PassOptions(enabled: [NarrowStorage.name]))
    #expect(try Graph(parsing: narrow.description, ops: .all) == narrow)
    for name in ["channel_moments", "batch_norm_gradient"] {
      let nodes = narrow.nodes.filter { $0.op.mnemonic == name }
      #expect(nodes.count == 2)
      for node in nodes {
        let types =
          node.operands.map { narrow.type(of: $0) } + node.results.map { narrow.type(of: $0) }
        #expect(types.contains { $0.dtype == .bf16 }, "\(name)")
        #expect(types.allSatisfy { $0.dtype != .bf16 || $0.count == Self.image.count })
      }
    }
  }

  /// Whether two results of a step lie so near, measured by how far the step went.
  private func expectNear(_ found: [NDArray], _ wanted: [NDArray], _ bound: Double) {
    #expect(abs(found[0].scalar / wanted[0].scalar - 1) < bound)
    for (index, state) in states.enumerated() {
      let (a, b, origin) = (
        found[index + 1].doubles, wanted[index + 1].doubles, state.array.doubles
      )
      let off = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      let step = zip(origin, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      #expect((off / step).squareRoot() < bound, "\(state.name)")
    }
  }

  @Test(arguments: levels) func steps_areNearThoseOfTheInterpreter(isa: ISA) throws {
    let interpreted = try graph.interpret(inputs: inputs, states: states.map(\.array))
    let wanted = interpreted.outputs + interpreted.states
    expectNear(try results(.highest, isa: isa), wanted, 1e-4)
    expectNear(try results(.mixed, isa: isa), wanted, 0.1)
  }

  @Test(arguments: levels) func theBitsAreTheSameOnAnyTeam(isa: ISA) throws {
    for precision in [Precision.highest, .mixed] {
      let one = try results(precision, isa: isa, threads: 1)
      for threads in [2, 7] {
        #expect(try results(precision, isa: isa, threads: threads) == one)
      }
    }
  }
}
