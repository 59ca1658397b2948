// Executables: the right numbers, the same bits on any team, and clear errors.

import ApusGraph
import ApusOps
import ApusPasses
import ApusRuntime
import Foundation
import TestSupport
import Testing

private func store(_ states: [(name: String, array: NDArray)]) throws -> StateStore {
  let store = StateStore()
  for state in states { try store.set(state.name, state.array) }
  return store
}

private func largestDifference(_ a: NDArray, _ b: NDArray) -> Double {
  zip(a.doubles, b.doubles).map { abs($0 - $1) }.max() ?? 0
}

@Suite struct ExecutableTests {
  @Test func aTrainingStepMatchesTheInterpreter() throws {
    let graph = try perceptronStep(batch: 9, widths: [21, 17, 5], momentum: true)
    var generator = SplitMix("interpreter")
    let inputs = [randomArray(.f32(9, 21), &generator), randomArray(.f32(9, 5), &generator)]
    let states = randomStates(graph, seed: "states")
    let executable = try Executable(graph, states: store(states))
    var expected = states.map(\.array)
    for _ in 0..<3 {
      let interpretation = try graph.interpret(inputs: inputs, states: expected)
      expected = interpretation.states
      let outputs = try executable.run(inputs)
      #expect(largestDifference(outputs[0], interpretation.outputs[0]) < 1e-5)
    }
    for (state, wanted) in zip(states, expected) {
      let found = try executable.states.array(state.name)
      #expect(largestDifference(found, wanted) < 1e-5, "\(state.name)")
    }
  }

  @Test func theBitsAreTheSameForOneTwoAndSevenThreads() throws {
    let graph = try perceptronStep(batch: 64, widths: [100, 130, 70, 10], momentum: true)
    var generator = SplitMix("threads")
    let inputs = [randomArray(.f32(64, 100), &generator), randomArray(.f32(64, 10), &generator)]
    let states = randomStates(graph, seed: "states")
    func train(_ threads: Int) throws -> [NDArray] {
      let executable = try Executable(
        graph, states: store(states), options: CompileOptions(threads: threads))
      #expect(executable.schedule.threads == threads)
      var losses: [NDArray] = []
      for _ in 0..<5 { losses += try executable.run(inputs) }
      return try losses + states.map { try executable.states.array($0.name) }
    }
    let one = try train(1)
    #expect(try train(2) == one)
    #expect(try train(7) == one)
  }
}
