// States change only where what is required holds: orders, barriers, runs of plans with a condition.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import ApusRuntime
import TestSupport
import Testing

@Suite struct UpdateConditionTests {
  /// Two layers whose weights are moved by their gradients; the loss is required to be finite.
  private static func graph(rows: Int, width: Int, early: Bool = false) throws -> Graph {
    let trace = Trace()
    let x = trace.input("x", .f32(rows, width)), labels = trace.input("labels", .i32(rows))
    let a = trace.state("a", .f32(width, width)), b = trace.state("b", .f32(8, width))
    let count = trace.state("count", .f32())
    try Trace.$current.withValue(trace) {
      // A state that what is watched depends on.
      trace.assign(count, count + 1)
      let h = tanh(x.matmul(a))
      let scale = early ? trace.state("count", .f32()) : trace.constant(1)
      let loss = crossEntropy(h.matmul(b, transposeOther: true) * scale, labels)
      let flows = gradients(of: loss, withRespectTo: [a, b])
      trace.assign(a, a - flows[0] * 0.1)
      trace.assign(b, b - flows[1] * 0.1)
      trace.output("loss", loss, isRequired: true)
      try trace.check()
    }
    return try trace.finish()
  }

  private static func inputs(rows: Int, width: Int, bad: Float? = nil, label: Int32 = 1)
    -> [NDArray]
  {
    var generator = SplitMix("condition")
    var x = randomArray(.f32(rows, width), &generator).floats
    if let bad { x[width + 1] = bad }
    var labels = [Int32](repeating: 2, count: rows)
    labels[rows - 1] = label
    return [NDArray(x, shape: [rows, width]), NDArray(labels, shape: [rows])]
  }

  private static func states(width: Int) throws -> StateStore {
    var generator = SplitMix("condition states")
    let store = StateStore()
    try store.set("a", randomArray(.f32(width, width), &generator))
    try store.set("b", randomArray(.f32(8, width), &generator))
    try store.set("count", NDArray(3))
    return store
  }

  private static func values(_ store: StateStore) throws -> [NDArray] {
    try store.names.map(store.array)
  }

  @Test(arguments: [(8, 16), (64, 200), (300, 64)], [false, true])
  func aBadBatchChangesNothing_onAnyTeam(size: (rows: Int, width: Int), early: Bool) throws {
    let graph = try Self.graph(rows: size.rows, width: size.width, early: early)
    var first: [NDArray]?
    for threads in [1, 2, 7] {
      let store = try Self.states(width: size.width)
      let executable = try Executable(
        graph, states: store, options: CompileOptions(threads: threads))
      let before = try Self.values(store)
      for bad in [Float.nan] {
        let error = #expect(throws: ApusError.self) {
          try executable.run(Self.inputs(rows: size.rows, width: size.width, bad: bad))
        }
        #expect(error?.kind == .nonFinite && "\(error!)".contains("'loss'"))
        #expect(try Self.values(store) == before, "\(threads) threads")
      }
      for label in [-1, 8] as [Int32] {
        let error = #expect(throws: ApusError.self) {
          try executable.run(Self.inputs(rows: size.rows, width: size.width, label: label))
        }
        #expect(error?.kind == .outOfRange)
        #expect(
          "\(error!)".contains("'labels' i32[\(size.rows)] hold \(label) at row \(size.rows - 1)")
            && "\(error!)".contains("0..<8"), "\(error!)")
        #expect(try Self.values(store) == before, "\(threads) threads")
      }
      for _ in 0..<3 { _ = try executable.run(Self.inputs(rows: size.rows, width: size.width)) }
      let after = try Self.values(store)
      #expect(after[0] != before[0] && after[1] != before[1] && after[2] == NDArray(6))
      if let first { #expect(after == first) }
      first = after
    }
  }

  @Test(arguments: [1, 2, 3, 7, 64])
  func theThreadsHaveMetBetweenWhatIsWatchedAndTheLook(threads: Int) throws {
    let plan = try Plan(
      optimised(Self.graph(rows: 64, width: 128)), isa: Environment.current.isa(), threads: threads)
    let condition = try #require(plan.condition)
    let schedule = Schedule(plan, threads: threads)
    let look = try #require(schedule.conditionStep)
    let watched = try #require(condition.lastWatched)
    #expect(watched < look && look <= condition.firstWrite)
    let isSpread = schedule.entries.contains { !$0.isAlone }
    #expect(threads != 2 || isSpread)
    if isSpread { #expect(schedule.entries[look - 1].barrier != nil) }
    for (index, step) in plan.steps.enumerated() {
      let writes = step.results.contains { if case .state = $0.place.space { true } else { false } }
      #expect(!writes || index >= look)
    }
    #expect(plan.text(schedule).contains("ends here without a change unless: loss finite"))
  }

  @Test func aGraphWithoutRequirements_hasNoCondition() throws {
    let trace = Trace()
    let w = trace.state("w", .f32(4))
    trace.assign(w, w * 2)
    trace.output("loss", w.sum())
    #expect(try Plan(optimised(trace.finish()), isa: .ref).condition == nil)
  }

  @Test func theInterpreterAgrees() throws {
    let graph = try Self.graph(rows: 8, width: 16)
    let store = try Self.states(width: 16)
    let states = try graph.states.map { try store.array($0.name) }
    let bad = try graph.interpret(
      inputs: Self.inputs(rows: 8, width: 16, bad: .nan), states: states)
    #expect(bad.states.map(\.doubles) == states.map(\.doubles))
    let good = try graph.interpret(inputs: Self.inputs(rows: 8, width: 16), states: states)
    #expect(good.states.map(\.doubles) != states.map(\.doubles))
  }

  @Test func requirements_surviveTextAndPasses_andMustBeOneF32() throws {
    let graph = try Self.graph(rows: 8, width: 16)
    #expect(
      graph.description.contains("output \"loss\" = ") && graph.description.contains(" finite\n"))
    let parsed = try Graph(parsing: graph.description, ops: OpRegistry(opSet))
    #expect(parsed.description == graph.description)
    #expect(try optimised(graph).outputs.map(\.isRequired) == [true])
    let trace = Trace()
    trace.output("y", trace.input("x", .f32(2)), isRequired: true)
    #expect(throws: ApusError.self) { try trace.finish().verify() }
  }

  @Test func aCheckedRun_endsThereToo() throws {
    let store = try Self.states(width: 16)
    let executable = try Executable(
      Self.graph(rows: 8, width: 16), states: store, options: CompileOptions(check: .nan))
    let before = try Self.values(store)
    #expect(throws: ApusError.self) {
      try executable.run(Self.inputs(rows: 8, width: 16, label: 9))
    }
    #expect(try Self.values(store) == before)
  }
}
