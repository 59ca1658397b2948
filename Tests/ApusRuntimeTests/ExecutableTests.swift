// Executables: the right numbers, the same bits on any team, from many tasks, step after step.

import ApusGraph
import ApusOps
import ApusPasses
import Foundation
import TestSupport
import Testing

@testable import ApusRuntime

func store(_ states: [(name: String, array: NDArray)]) throws -> StateStore {
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
    let two = try train(2)
    let seven = try train(7)
    #expect(two == one)
    #expect(seven == one)
  }

  /// Random graphs of an exact op: aliases, takeovers of dying buffers, states updated in place or copied,
  /// barriers left out, workspaces. Any mistake in the plan changes a whole number.
  @Test(arguments: 0..<25)
  func randomGraphsGiveTheInterpretersNumbersOnEveryTeam(seed: Int) throws {
    let graph = try randomMixGraph(seed: seed, nodes: 30)
    var generator = SplitMix("values \(seed)")
    let states = graph.states.map {
      (name: $0.name, array: randomResidues(graph.type(of: $0.value), &generator))
    }
    let runs = (0..<3).map { _ in
      graph.inputs.map { randomResidues(graph.type(of: $0.value), &generator) }
    }
    for threads in [1, 2, 3, 7] {
      let executable = try Executable(
        graph, states: store(states), options: CompileOptions(threads: threads))
      var expected = states.map(\.array)
      for inputs in runs {
        let wanted = try graph.interpret(inputs: inputs, states: expected, widened: false)
        let outputs = try executable.run(inputs)
        #expect(outputs == wanted.outputs, "outputs, \(threads) threads")
        expected = wanted.states
        for (state, value) in zip(states, expected) {
          let found = try executable.states.array(state.name)
          #expect(found == value, "\(state.name), \(threads) threads")
        }
      }
    }
  }

  /// Barriers left out, calls in another order, small calls on threads of their own: the numbers stay.
  @Test(arguments: 0..<12)
  func randomNetworksGiveTheSameBitsOnEveryTeam(seed: Int) throws {
    let graph = try randomNetwork(seed: seed)
    var generator = SplitMix("network values \(seed)")
    let inputs = graph.inputs.map { input -> NDArray in
      let type = graph.type(of: input.value)
      guard type.dtype == .i32 else { return randomArray(type, &generator) }
      return NDArray(doubles: (0..<type.count).map { Double($0 * 7 % 10) }, type: type)
    }
    let states = randomStates(graph, seed: "network states \(seed)")
    func train(_ threads: Int) throws -> [NDArray] {
      let executable = try Executable(
        graph, states: store(states), options: CompileOptions(threads: threads))
      var results: [NDArray] = []
      for _ in 0..<4 { results += try executable.run(inputs) }
      return try results + states.map { try executable.states.array($0.name) }
    }
    let one = try train(1)
    for threads in [2, 3, 7] {
      for _ in 0..<3 { #expect(try train(threads) == one, "\(threads) threads") }
    }
  }

  @Test func statesThatSwapKeepBothOldValues() throws {
    let trace = Trace()
    let a = trace.state("a", .f32(3)), b = trace.state("b", .f32(3))
    trace.assign(a, b)
    trace.assign(b, a)
    trace.output("old a", a)
    let states = try store([
      ("a", NDArray([1, 2, 3], shape: [3])), ("b", NDArray([4, 5, 6], shape: [3])),
    ])
    let executable = try Executable(trace.finish(), states: states)
    let outputs = try executable.run([])
    #expect(outputs == [NDArray([1, 2, 3], shape: [3])])
    #expect(try states.array("a") == NDArray([4, 5, 6], shape: [3]))
    #expect(try states.array("b") == NDArray([1, 2, 3], shape: [3]))
  }

  @Test func outputsMayBeInputsConstantsAndStates() throws {
    let trace = Trace()
    let x = trace.input("x", .i64(2))
    let s = trace.state("s", .f32(2))
    trace.output("x", x)
    trace.output("c", trace.constant(NDArray([7, 8], shape: [2])))
    trace.output("s", s)
    trace.assign(s, s)
    let states = try store([("s", NDArray([1, 2], shape: [2]))])
    let executable = try Executable(trace.finish(), states: states)
    let outputs = try executable.run([NDArray([3, 4] as [Int64], shape: [2])])
    #expect(outputs[0].integers == [3, 4])
    #expect(outputs[1].floats == [7, 8])
    #expect(outputs[2].floats == [1, 2])
  }

  @Test func viewsAtTheEndAreCopiedDensely() throws {
    var graph = Graph()
    let x = graph.addInput("x", .f32(2, 3))
    let s = graph.addState("s", .f32(3, 2))
    let transposed = View(dense: [2, 3]).transposed([1, 0])
    graph.outputs.append(
      GraphOutput(name: "transposed", operand: Operand(x, view: transposed)))
    graph.outputs.append(
      GraphOutput(
        name: "row", operand: Operand(x, view: View(shape: [3], strides: [1], offset: 3))))
    graph.assign(s, Operand(x, view: transposed))
    try graph.verify()
    let executable = try Executable(graph, states: StateStore(zerosFor: graph))
    let outputs = try executable.run([NDArray([1, 2, 3, 4, 5, 6], shape: [2, 3])])
    #expect(outputs[0] == NDArray([1, 4, 2, 5, 3, 6], shape: [3, 2]))
    #expect(outputs[1] == NDArray([4, 5, 6], shape: [3]))
    #expect(try executable.states.array("s") == outputs[0])
  }

  @Test func oneStoreServesSeveralExecutables() throws {
    func graph(_ factor: Double) throws -> Graph {
      let trace = Trace()
      let s = trace.state("s", .f32(4))
      trace.assign(s, s * factor)
      trace.output("s", s * 1.0)
      return try trace.finish()
    }
    let states = try store([("s", NDArray([1, 2, 3, 4], shape: [4]))])
    let double = try Executable(graph(2), states: states)
    let halve = try Executable(graph(0.5), states: states)
    _ = try double.run([])
    _ = try double.run([])
    _ = try halve.run([])
    #expect(try states.array("s").floats == [2, 4, 6, 8])
  }

  @Test func runsFromManyTasksTakeTurns() async throws {
    let trace = Trace()
    let x = trace.input("x", .f32(64, 33))
    let w = trace.input("w", .f32(33, 40))
    let count = trace.state("count", .f32())
    trace.assign(count, count + 1)
    trace.output("y", x.matmul(w) + x.sum(axes: [1], keepDims: true))
    let graph = try trace.finish()
    let executable = try Executable(
      graph, states: StateStore(zerosFor: graph), options: CompileOptions(threads: 2))
    var generator = SplitMix("tasks")
    let w0 = randomArray(.f32(33, 40), &generator)
    let xs = (0..<8).map { _ in randomArray(.f32(64, 33), &generator) }
    let expected = try xs.map { try executable.run([$0, w0]) }
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for round in 0..<25 {
        for (x, wanted) in zip(xs, expected) {
          group.addTask { try round >= 0 && executable.run([x, w0]) == wanted }
        }
      }
      for try await isRight in group { #expect(isRight) }
    }
    #expect(try executable.states.array("count").scalar == 8 + 200)
  }

  @Test func emptyTensorsPassThrough() throws {
    let f = try compile(.f32(0, 3), .f32(3, 2)) { x, w in x.matmul(w) + 1 }
    let empty: NDArray = try f(NDArray(zeros: .f32(0, 3)), NDArray(zeros: .f32(3, 2)))
    #expect(empty.type == .f32(0, 2))
  }

  @Test func closuresBecomeFunctions() throws {
    let square = try compile(.f32(3)) { $0 * $0 }
    let one: NDArray = try square(NDArray([1, 2, 3], shape: [3]))
    #expect(one.floats == [1, 4, 9])
    let product = try compile(.f32(2, 2), .f32(2, 2), .f32(2)) { $0.matmul($1) + $2 }
    let two: NDArray = try product(
      NDArray([1, 2, 3, 4], shape: [2, 2]), NDArray([1, 0, 0, 1], shape: [2, 2]),
      NDArray([10, 20], shape: [2]))
    #expect(two.floats == [11, 22, 13, 24])
    let both = try compile([.f32(2), .f32(2)]) { [$0[0] + $0[1], $0[0] * $0[1]] }
    let results: [NDArray] = try both(
      NDArray([1, 2], shape: [2]), NDArray([3, 4], shape: [2]))
    #expect(results.map(\.floats) == [[4, 6], [3, 8]])
  }
}
