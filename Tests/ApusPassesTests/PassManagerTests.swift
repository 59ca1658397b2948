// The manager: dumping, checking, counting, switching off.

import ApusGraph
import ApusOps
import ApusPasses
import Synchronization
import Testing

@Suite struct PassManagerTests {
  private let text = """
    input %0 "x" : f64[2]
    %1 = exp(%0) : f64[2]
    %2 = add(%0, %0) : f64[2]
    output "y" = %2
    """

  private struct Breaking: Pass {
    static let name = "breaking"
    func run(on graph: inout Graph) throws -> Statistics {
      graph.nodes.removeAll()
      return [:]
    }
  }

  @Test func dumpsTheGraphAfterEachPassAndSaysWhereNothingChanged() throws {
    let dumped = Mutex<[(String, String)]>([])
    let options = PassOptions(dump: { pass, text in dumped.withLock { $0.append((pass, text)) } })
    var graph = try Graph(parsing: text, ops: .all)
    let before = graph.description
    try PassManager(passes: [DeadCode(), DeadCode()], options: options).run(on: &graph)
    let dumps = dumped.withLock { $0 }
    #expect(dumps.map(\.0) == ["input", "dead-code", "dead-code"])
    #expect(dumps.map(\.1) == [before, graph.description, "(unchanged)\n"])
  }

  @Test func reportsWhatEachPassDid() throws {
    var graph = try Graph(parsing: text, ops: .all)
    let reports = try PassManager(passes: [DeadCode(), DeadCode()]).run(on: &graph)
    #expect(reports.map(\.name) == ["dead-code", "dead-code"])
    #expect(reports.map(\.statistics) == [["nodes": 1], [:]])
    #expect(reports.map(\.nodeCount) == [1, 1])
  }

  @Test func leavesOutAPassThatIsSwitchedOff() throws {
    var graph = try Graph(parsing: text, ops: .all)
    let options = PassOptions(disabled: ["dead-code"])
    #expect(try PassManager(passes: [DeadCode()], options: options).run(on: &graph).isEmpty)
    #expect(graph.nodes.count == 2)
  }

  @Test func runsAnOptionalPassWhereItIsSwitchedOn() throws {
    let text = """
      input %0 "x" : f32[2]
      %1 = exp(%0) : f32[2]
      %2 = sum(%1) {axes=[0], keepDims=false} : f32[]
      output "y" = %2
      """
    let name = NarrowStorage.name
    func runs(_ options: PassOptions) throws -> Bool {
      var graph = try Graph(parsing: text, ops: .all)
      let reports = try PassManager(passes: [NarrowStorage()], options: options).run(on: &graph)
      #expect(reports.map(\.name) == (reports.isEmpty ? [] : [name]))
      #expect(graph.types.contains { $0.dtype == .bf16 } == !reports.isEmpty)
      return !reports.isEmpty
    }
    #expect(try !runs(PassOptions()))
    #expect(try runs(PassOptions(enabled: [name])))
    #expect(try !runs(PassOptions(disabled: [name], enabled: [name])))
    let error = #expect(throws: ApusError.self) { try runs(PassOptions(enabled: ["narrow"])) }
    #expect(error?.what == "there is no pass 'narrow'")
  }

  @Test func refusesToSwitchOffAPassThatDoesNotExist() throws {
    let graph = try Graph(parsing: text, ops: .all)
    let error = #expect(throws: ApusError.self) {
      try optimised(graph, options: PassOptions(disabled: ["dead-cod"]))
    }
    #expect(error?.kind == .invalidArgument)
    #expect(error?.what == "there is no pass 'dead-cod'")
    #expect(error?.expected?.contains("dead-code") == true)
  }

  @Test func namesThePassThatBreaksAGraph() throws {
    var graph = try Graph(parsing: text, ops: .all)
    let error = #expect(throws: ApusError.self) {
      try PassManager(passes: [Breaking()]).run(on: &graph)
    }
    #expect(error?.kind == .invalidGraph)
    #expect(error?.what.hasPrefix("after pass 'breaking': ") == true)
  }

  @Test func statisticsForgetCountersThatAreZero() {
    var statistics: Statistics = ["merged": 2, "folded": 0]
    statistics["removed"] = 0
    statistics += ["merged": 1, "added": 4]
    #expect(statistics.description == "added 4, merged 3")
    #expect(Statistics() == ["merged": 0])
  }
}
