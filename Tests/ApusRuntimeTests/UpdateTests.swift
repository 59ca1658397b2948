// Updates in products' registers: the same bits as the update by itself, at every level and on any team.

import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct UpdateTests {
  /// A layer without bias under squared error: one product forward, and one that is the gradient.
  private func step(batch: Int, features: Int, outputs: Int) throws -> Graph {
    let trace = Trace()
    let x = trace.input("x", .f32(batch, features)), y = trace.input("y", .f32(batch, outputs))
    let rate = trace.input("rate", .f32())
    let weight = trace.state("w", .f32(outputs, features))
    let velocity = trace.state("v", .f32(outputs, features))
    let error = x.matmul(weight, transposeOther: true) - y
    let moved = velocity * 0.9 + error.matmul(x, transposeSelf: true)
    trace.assign(velocity, moved)
    trace.assign(weight, weight - moved * rate)
    trace.output("error", (error * error).sum())
    return try trace.finish()
  }

  /// Weights beyond what MultiTensorUpdate takes as small, with whole and with broken tiles, and a batch
  /// whose sums are of two blocks.
  @Test(arguments: [(64, 784, 48), (9, 433, 77), (600, 130, 40)])
  func updatesInRegistersGiveTheBitsOfLoops(batch: Int, features: Int, outputs: Int) throws {
    let graph = try step(batch: batch, features: features, outputs: outputs)
    var generator = SplitMix("update")
    let inputs = [
      randomArray(.f32(batch, features), &generator), randomArray(.f32(batch, outputs), &generator),
      NDArray([Float(0.01)], shape: []),
    ]
    for isa in Environment.availableISAs {
      func run(_ threads: Int, disabled: Set<String> = []) throws -> (plan: Plan, arrays: [NDArray])
      {
        let states = try store(randomStates(graph, seed: "update"))
        let executable = try Executable(
          graph, states: states,
          options: CompileOptions(isa: isa, threads: threads, disabledPasses: disabled))
        var losses: [NDArray] = []
        for _ in 0..<3 { losses += try executable.run(inputs) }
        return (executable.plan, losses + [try states.array("v"), try states.array("w")])
      }
      let plain = try run(1, disabled: [FuseUpdate.name])
      for threads in [1, 2, 7] {
        let fused = try run(threads)
        #expect(fused.arrays == plain.arrays, "\(isa), \(threads) threads")
        let names = fused.plan.steps.map(\.call.name)
        // AMX's tiles do it as a program of theirs.
        if isa < .amx { #expect(names.contains { $0.hasSuffix(" momentum") } == (batch <= 512)) }
        #expect(fused.plan.memory.arena < plain.plan.memory.arena || batch > 512)
      }
    }
  }
}
