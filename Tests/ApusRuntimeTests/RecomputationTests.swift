// What is computed again for the sake of a limit, and what is not.

import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct RecomputationTests {
  /// The values that the calls make, in their order, at the end of the way; and the peaks along it.
  private func way(_ text: String) throws -> (order: String, peaks: [Int]) {
    let graph = try Graph(parsing: text, ops: .all)
    try graph.verify()
    let lowered = try LoweredGraph(graph, isa: .ref, precision: .highest)
    var way = Recomputation(lowered, CostModel(.nominal(.ref)))
    var peaks = [way.peak]
    while way.advance() { peaks.append(way.peak) }
    // Never more along the way, and the plan of the calls takes what the way says.
    #expect(zip(peaks, peaks.dropFirst()).allSatisfy { $0 >= $1 })
    #expect(MemoryPlan(way.lowered).report.lowerBound == way.peak)
    let names = ValueNames(way.lowered.graph, copies: way.lowered.sources)
    let order = way.lowered.calls.flatMap { $0.results.map(names.name) }.joined(separator: " ")
    return (order, peaks)
  }

  private let size = 64 * 4

  // MARK: It fires

  @Test func whatNobodyReadsAtThePeak_isMadeAgainBeforeItsReader() throws {
    let found = try way(
      """
      input %0 "x" : f32[64]
      %1 = exp(%0) : f32[64]
      %2 = sin(%1) : f32[64]
      %3 = cos(%2) : f32[64]
      %4 = mul(%3, %2) : f32[64]
      %5 = mul(%4, %1) : f32[64]
      output "y" = %5
      """)
    #expect(found.order == "%1 %2 %3 %4 %1' %5")
    #expect(found.peaks == [3 * size, 2 * size])
  }

  @Test func whatItNeeds_isMadeAgainToo() throws {
    // %1 is gone when %2 is made again.
    let found = try way(
      """
      input %0 "x" : f32[64]
      %1 = exp(%0) : f32[64]
      %2 = sin(%1) : f32[64]
      %3 = cos(%2) : f32[64]
      %4 = exp(%3) : f32[64]
      %5 = mul(%4, %3) : f32[64]
      %6 = mul(%5, %2) : f32[64]
      output "y" = %6
      """)
    #expect(found.order == "%1 %2 %3 %4 %5 %1' %2' %6")
    #expect(found.peaks == [3 * size, 2 * size])
  }

  @Test func anotherNameOfTheBytes_isReadFromTheCopy() throws {
    let found = try way(
      """
      input %0 "x" : f32[64]
      %1 = exp(%0) : f32[64]
      %2 = reshape(%1) {shape=[8,8]} : f32[8,8]
      %3 = sin(%1) : f32[64]
      %4 = cos(%3) : f32[64]
      %5 = mul(%4, %3) : f32[64]
      %6 = reshape(%5) {shape=[8,8]} : f32[8,8]
      %7 = mul(%6, %2) : f32[8,8]
      output "y" = %7
      """)
    #expect(found.order == "%1 %3 %4 %5 %1' %7")
  }

  @Test func theCheaperOfTwo_goesFirst() throws {
    // Both are read only at the end; the product takes longer.
    let text = """
      input %0 "x" : f32[64,64]
      input %1 "w" : f32[64,64]
      %2 = matmul(%0, %1) {transposeA=false, transposeB=false} : f32[64,64]
      %3 = exp(%0) : f32[64,64]
      %4 = mul(%2, %3) : f32[64,64]
      %5 = sin(%4) : f32[64,64]
      %6 = mul(%5, %4) : f32[64,64]
      %7 = add(%6, %3) : f32[64,64]
      %8 = mul(%7, %2) : f32[64,64]
      output "y" = %8
      """
    let lowered = try LoweredGraph(
      Graph(parsing: text, ops: .all), isa: .ref, precision: .highest)
    var way = Recomputation(lowered, CostModel(.nominal(.ref)))
    let hasMoved = way.advance()
    #expect(hasMoved)
    let repeated = way.lowered.calls.filter(\.isRepeated).map(\.mnemonic)
    #expect(repeated == ["exp"])
  }

  // MARK: It does not

  @Test(arguments: [
    // Nothing is alive that is not at work.
    """
    input %0 "x" : f32[64]
    %1 = exp(%0) : f32[64]
    %2 = sin(%1) : f32[64]
    output "y" = %2
    """,
    // What the peak itself reads.
    """
    input %0 "x" : f32[64]
    %1 = exp(%0) : f32[64]
    %2 = sin(%1) : f32[64]
    %3 = mul(%2, %1) : f32[64]
    output "y" = %3
    """,
    // What is read after the last call.
    """
    input %0 "x" : f32[64]
    %1 = exp(%0) : f32[64]
    %2 = sin(%1) : f32[64]
    %3 = cos(%2) : f32[64]
    %4 = mul(%3, %2) : f32[64]
    output "kept" = %1
    output "y" = %4
    """,
    // A sum would need what it sums, and there is no room for that where it is read.
    """
    input %0 "x" : f32[64,8]
    input %1 "y" : f32[64,8]
    %2 = exp(%0) : f32[64,8]
    %3 = sum(%2) {axes=[1], keepDims=true} : f32[64,1]
    %4 = exp(%1) : f32[64,8]
    %5 = sin(%4) : f32[64,8]
    %6 = mul(%5, %4) : f32[64,8]
    %7 = cos(%6) : f32[64,8]
    %8 = mul(%6, %3) : f32[64,8]
    %9 = add(%8, %7) : f32[64,8]
    output "y" = %9
    """,
    // A state's next value: it would be counted twice.
    """
    state %0 "s" : f32[64]
    %1 = exp(%0) : f32[64]
    %2 = sin(%1) : f32[64]
    %3 = cos(%2) : f32[64]
    %4 = mul(%3, %2) : f32[64]
    %5 = mul(%4, %1) : f32[64]
    assign %0 = %1
    output "y" = %5
    """,
  ])
  func whereNothingIsWon_orNothingMayRunTwice_theCallsStay(text: String) throws {
    let found = try way(text)
    #expect(!found.order.contains("'"), "\(found.order)")
    #expect(found.peaks.count == 1)
  }

  @Test func whatReadsAState_isNotMadeAgainAfterItsUpdate() throws {
    // As above, but %1 would be made of the old value of a state that has the new one by then.
    let text = """
      state %0 "s" : f32[64]
      input %1 "x" : f32[64]
      %2 = exp(%0) : f32[64]
      %3 = add(%0, %1) : f32[64]
      %4 = sin(%2) : f32[64]
      %5 = cos(%4) : f32[64]
      %6 = mul(%5, %4) : f32[64]
      %7 = mul(%6, %2) : f32[64]
      assign %0 = %3
      output "y" = %7
      """
    let found = try way(text)
    #expect(!found.order.contains("'"), "\(found.order)")
  }

  // MARK: Any graph

  /// The smallest limit that a graph can be compiled with.
  private func least(_ graph: Graph, _ states: StateStore, _ options: CompileOptions) throws -> Int
  {
    var options = options
    options.memoryLimit = 0
    do {
      _ = try Executable(graph, states: states, options: options)
      return 0
    } catch let error as ApusError where error.kind == .resource {
      return error.expected?.split(separator: " ").lazy.compactMap { Int($0) }.first ?? -1
    }
  }

  private func expectSameBitsWithinLimits(
    _ graph: Graph, _ states: [(name: String, array: NDArray)], _ inputs: [NDArray],
    threads: Int, _ comment: Comment
  ) throws -> Int {
    typealias Run = (memory: MemoryReport, outputs: [[NDArray]], states: [NDArray])
    func run(_ limit: Int?) throws -> Run {
      let store = StateStore()
      for (name, array) in states { try store.set(name, array) }
      let executable = try Executable(
        graph, states: store, options: CompileOptions(threads: threads, memoryLimit: limit))
      let outputs = try (0..<3).map { _ in try executable.run(inputs) }
      return (executable.memory, outputs, try states.map { try store.array($0.name) })
    }
    let free = try run(nil)
    let store = StateStore()
    for (name, array) in states { try store.set(name, array) }
    let least = try least(graph, store, CompileOptions(threads: threads))
    var arena = free.memory.arena, recomputed = 0
    for percent in [85, 65, 45, 0] {
      let limit = max(least, free.memory.arena * percent / 100)
      let limited = try run(limit)
      #expect(limited.memory.arena <= min(limit, arena), comment)
      arena = limited.memory.arena
      recomputed = max(recomputed, limited.memory.recomputed)
      #expect(limited.outputs == free.outputs && limited.states == free.states, comment)
    }
    return recomputed
  }

  @Test(arguments: [1, 2])
  func randomGraphsGiveTheSameBitsWithinEveryLimit(threads: Int) throws {
    var fired = 0
    for seed in 0..<16 {
      let graph = try randomMixGraph(seed: seed, nodes: 40)
      var generator = SplitMix("limited \(seed)")
      let inputs = graph.inputs.map { randomResidues(graph.type(of: $0.value), &generator) }
      let states = graph.states.map {
        ($0.name, randomResidues(graph.type(of: $0.value), &generator))
      }
      let recomputed = try expectSameBitsWithinLimits(
        graph, states, inputs, threads: threads, "mix \(seed)")
      if recomputed > 0 { fired += 1 }
    }
    #expect(fired > 5)
  }

  @Test(arguments: 0..<12)
  func randomNetworksTrainToTheSameBitsWithinEveryLimit(seed: Int) throws {
    let graph = try randomNetwork(seed: seed)
    var generator = SplitMix("limited \(seed)")
    let inputs = graph.inputs.map { input in
      let type = graph.type(of: input.value)
      return type.dtype == .i32
        ? NDArray((0..<type.count).map { Int32($0 % 10) }, shape: type.shape)
        : randomArray(type, &generator)
    }
    _ = try expectSameBitsWithinLimits(
      graph, randomStates(graph, seed: "limited \(seed)"), inputs, threads: 2, "network \(seed)")
  }

  @Test func thePlanSaysWhatIsMadeAgain() throws {
    let graph = try optimised(perceptronStep(batch: 512, widths: [32, 64, 64, 64, 64, 8]))
    let free = try Plan(graph, isa: .ref)
    let plan = try Plan(graph, isa: .ref, memoryLimit: free.memory.arena * 3 / 4)
    let schedule = Schedule(plan, threads: 1)
    let repeated = plan.steps.filter(\.isRepeated)
    #expect(!repeated.isEmpty && plan.memory.arena <= free.memory.arena * 3 / 4)
    #expect(plan.memory.unlimitedArena == free.memory.arena)
    #expect(
      plan.memory.recomputed == repeated.flatMap(\.results).reduce(0) { $0 + $1.type.byteCount })
    let text = plan.text(schedule)
    #expect(
      text.contains(
        "computed again \(plan.memory.recomputed) bytes in \(repeated.count) steps; "
          + "without a limit the arena would be \(free.memory.arena)"))
    #expect(text.components(separatedBy: "  again  ").count - 1 == repeated.count)
    // A copy bears its original's name and a mark, and somebody reads it.
    for step in repeated {
      let name = try #require(step.results.first?.name)
      #expect(name.hasSuffix("'"))
      #expect(plan.steps.contains { $0.results.contains { $0.name == name.dropLast() } })
      #expect(plan.steps.contains { $0.operands.contains { $0.name.hasPrefix(name) } })
    }
    #expect(plan.description(schedule).steps.map(\.isRepeated) == plan.steps.map(\.isRepeated))
    #expect(plan.dot(schedule).components(separatedBy: "\\nagain\\n").count - 1 == repeated.count)
    #expect(!free.text(Schedule(free, threads: 1)).contains("again"))
  }

  @Test func aProfileSaysWhatIsMadeAgain() throws {
    let graph = try perceptronStep(batch: 512, widths: [32, 64, 64, 64, 64, 8])
    func executable(_ limit: Int?) throws -> Executable {
      let options = CompileOptions(threads: 1, memoryLimit: limit)
      return try Executable(graph, states: StateStore(zerosFor: graph), options: options)
    }
    let inputs = graph.inputs.map { NDArray(zeros: graph.type(of: $0.value)) }
    let free = try executable(nil)
    let limited = try executable(free.memory.arena * 3 / 4)
    let (_, profile) = try limited.profile(inputs)
    let marks = profile.entries.map(\.isRepeated)
    #expect(marks == limited.plan.steps.map(\.isRepeated) && marks.contains(true))
    let lines = profile.description.split(separator: "\n")
    #expect(lines.count { $0.contains("  again  layer") } == marks.count { $0 })
    #expect(try !free.profile(inputs).profile.description.contains("again"))
  }
}
