// States in the form that kernels want: the same bits, made again when a state changes and only then.

import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct PackedStateTests {
  /// Two products with the same state, one of them with the state's transpose, and a fused one.
  private func network(batch: Int) throws -> Graph {
    let trace = Trace()
    let x = trace.input("x", .f32(batch, 37))
    let w = trace.state("w", .f32(50, 37)), v = trace.state("v", .f32(50, 21))
    let hidden = relu(x.matmul(w, transposeOther: true))
    trace.output("y", tanh(hidden.matmul(v)) + x.matmul(w, transposeOther: true).sum())
    trace.output("z", hidden.matmul(w))
    return try trace.finish()
  }

  private func states(_ graph: Graph, seed: String) throws -> StateStore {
    try store(randomStates(graph, seed: seed))
  }

  @Test(arguments: [2, 40])
  func packedStatesGiveTheBitsOfTheInterpretersProducts(batch: Int) throws {
    let graph = try network(batch: batch)
    var generator = SplitMix("packed")
    let x = randomArray(.f32(batch, 37), &generator)
    for isa in Environment.availableISAs {
      let plain = try Executable(
        graph.takingStatesAsInputs(), options: CompileOptions(isa: isa, threads: 1))
      #expect(plain.plan.packings.isEmpty)
      let store = try states(graph, seed: "a")
      let expected = try plain.run([x, store.array("w"), store.array("v")])
      for threads in [1, 2, 7] {
        let executable = try Executable(
          graph, states: store, options: CompileOptions(isa: isa, threads: threads))
        // Forward takes w transposed, which is always packed, and, where the batch is large, w and v. The
        // reference packs nothing.
        #expect(executable.plan.packings.count == (isa == .ref ? 0 : batch > 28 ? 3 : 1))
        #expect(try executable.run([x]) == expected, "\(isa), \(threads) threads")
        #expect(try executable.run([x]) == expected, "\(isa), \(threads) threads, again")
      }
    }
  }

  @Test func settingAStateMakesItsFormAgain() throws {
    let graph = try network(batch: 40)
    var generator = SplitMix("set")
    let x = randomArray(.f32(40, 37), &generator)
    let first = try states(graph, seed: "a")
    let second = try states(graph, seed: "b")
    let executable = try Executable(graph, states: first)
    let old = try executable.run([x])
    let expected = try Executable(graph, states: second).run([x])
    #expect(old != expected)
    for name in first.names { try first.set(name, try second.array(name)) }
    #expect(try executable.run([x]) == expected)
  }

  @Test func whatAnotherExecutableChangesIsSeen() throws {
    let evaluation = try network(batch: 40)
    let trace = Trace()
    let w = trace.state("w", .f32(50, 37))
    trace.assign(w, w * 0.5)
    trace.output("w", w)
    let store = try states(evaluation, seed: "a")
    let evaluate = try Executable(evaluation, states: store)
    let train = try Executable(trace.finish(), states: store)
    var generator = SplitMix("change")
    let x = randomArray(.f32(40, 37), &generator)
    for _ in 0..<3 {
      let values = store.names.map { name in (name, try? store.array(name)) }
      let fresh = StateStore()
      for (name, array) in values { try fresh.set(name, try #require(array)) }
      #expect(try evaluate.run([x]) == Executable(evaluation, states: fresh).run([x]))
      _ = try train.run([])
    }
  }

  @Test func aGraphThatChangesAStateReadsItAsItLies() throws {
    let plan = try Plan(
      optimised(perceptronStep(batch: 64, widths: [40, 30, 20])),
      isa: Environment.availableISAs.last!)
    #expect(plan.packings.isEmpty)
    #expect(plan.memory.packed == 0)
  }

  @Test func formsAreSharedAndCounted() throws {
    let graph = try network(batch: 40)
    let store = try states(graph, seed: "a")
    let one = try Executable(graph, states: store)
    let two = try Executable(network(batch: 44), states: store)
    let bytes = one.plan.packings.reduce(0) { $0 + $1.byteCount }
    #expect(one.memory.packed == bytes && bytes >= 4 * (2 * 50 * 37 + 50 * 21))
    #expect(one.plan.text(one.schedule).contains("packed \(bytes)"))
    #expect(one.plan.packings.map(\.form) == two.plan.packings.map(\.form))
    var generator = SplitMix("shared")
    let x = randomArray(.f32(40, 37), &generator), z = randomArray(.f32(44, 37), &generator)
    _ = try one.run([x])
    #expect(two.binding.staleForms == 0)
    _ = try two.run([z])
    try store.set("v", try store.array("v"))
    #expect(one.binding.staleForms == 1 && two.binding.staleForms == 1)
    _ = try two.run([z])
    #expect(one.binding.staleForms == 0)
  }

  @Test func aNaNInAPackedStateIsFound() throws {
    let graph = try network(batch: 40)
    let store = try states(graph, seed: "a")
    let executable = try Executable(
      graph, states: store, options: CompileOptions(check: .nan))
    var generator = SplitMix("nan")
    let x = randomArray(.f32(40, 37), &generator)
    _ = try executable.run([x])
    var values = try store.array("v").floats
    values[5] = .nan
    try store.set("v", NDArray(values, shape: [50, 21]))
    let error = #expect(throws: ApusError.self) { try executable.run([x]) }
    #expect(error?.what == "state 'v' holds a NaN before the run")
  }
}

extension Graph {
  /// The same graph with inputs in the place of its states.
  fileprivate func takingStatesAsInputs() -> Graph {
    var graph = self
    graph.inputs += graph.states.map { GraphInput(name: $0.name, value: $0.value) }
    graph.states = []
    return graph
  }
}
