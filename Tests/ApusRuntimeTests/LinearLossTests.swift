// The last layer and its loss as one step: when, what it saves, and that it computes the same.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import ApusRuntime
import TestSupport
import Testing

@Suite struct LinearLossTests {
  /// Loss, gradients and (where asked for) the rows that are classified right, of a linear layer.
  private func step(
    rows: Int, depth: Int, classes: Int, hasMetric: Bool = false
  ) throws -> Graph {
    try traced([.f32(rows, depth), .f32(classes, depth), .f32(classes), .i32(rows)]) { x in
      let logits = relu(x[0]).matmul(x[1], transposeOther: true) + x[2]
      let loss = crossEntropy(logits, x[3], ignoreIndex: 1, labelSmoothing: 0.1)
      let metric = hasMetric ? [logits.argmax(axis: 1)] : []
      return [loss] + gradients(of: loss, withRespectTo: Array(x.prefix(3))) + metric
    }
  }

  private func isFused(_ graph: Graph) throws -> Bool {
    try optimised(graph).nodes.contains { $0.op is LinearCrossEntropy }
  }

  @Test func largeLossesAreFusedAndSmallOnesAreNot() throws {
    #expect(try isFused(step(rows: 2048, depth: 384, classes: 8192)))
    #expect(try isFused(step(rows: 512, depth: 8, classes: 1 << 13)))
    #expect(try !isFused(step(rows: 2048, depth: 384, classes: 96)))
    // One chunk: nothing would be saved.
    #expect(try !isFused(step(rows: 256, depth: 8, classes: 1 << 17)))
    #expect(try !isFused(step(rows: 2048, depth: 384, classes: 8192, hasMetric: true)))
  }

  @Test func noTensorOfRowsByClassesIsPlanned() throws {
    let graph = try step(rows: 2048, depth: 384, classes: 8192)
    func memory(_ disabled: Set<String>) throws -> MemoryReport {
      try Plan(optimised(graph, options: PassOptions(disabled: disabled)), isa: .ref).memory
    }
    let whole = try memory([FuseLinearCrossEntropy.name])
    let fused = try memory([])
    let logits = 2048 * 8192 * 4
    #expect(whole.arena >= logits)
    // A chunk of 256 rows instead of 2048.
    #expect(fused.arena <= whole.arena - logits * 3 / 4)
  }

  @Test func inMixedNoneIsPlannedEither() throws {
    let graph = try step(rows: 2048, depth: 384, classes: 8192)
    let narrow = try optimised(graph, options: PassOptions(enabled: [NarrowStorage.name]))
    let makes = narrow.nodes.flatMap { node in
      node.results.map { "\(node.op.mnemonic) \(narrow.type(of: $0))" }
    }
    #expect(makes.contains("linear_cross_entropy f32[8192,384]"), "\(makes)")
    #expect(!makes.contains { $0.contains("2048,8192") }, "\(makes)")
    let plan = try Plan(narrow, isa: Environment.availableISAs.last!, precision: .mixed)
    #expect(plan.steps.contains { $0.call.name == "ck_linear_cross_entropy 2048x8192x384" })
    #expect(plan.memory.arena < 2048 * 8192 * 4)
  }

  @Test func aStepInChunksComputesWhatTheInterpreterDoes() throws {
    let graph = try step(rows: 520, depth: 6, classes: 8100)
    #expect(try isFused(graph))
    let inputs = OpSpec(
      MatMul(), .uniform(-1...1), .uniform(-0.3...0.3), .uniform(-1...1), .integers(0...8099),
      on: []
    ).operands(graph.inputs.map { graph.type(of: $0.value) })
    let executable = try Executable(graph, options: CompileOptions(threads: 2))
    let plain = try Executable(
      graph,
      options: CompileOptions(threads: 2, disabledPasses: [FuseLinearCrossEntropy.name]))
    #expect(executable.plan.steps.contains { $0.mnemonic == LinearCrossEntropy.mnemonic })
    for (got, want) in zip(try executable.run(inputs), try plain.run(inputs)) {
      let problem = OpSpec.difference(got, want, relative: 1e-5, absolute: 1e-7)
      #expect(problem == nil, "\(problem ?? "")")
    }
  }
}
