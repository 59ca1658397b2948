// What passes refuse, and what they leave for the run to refuse.

import ApusGraph
import ApusOps
import ApusPasses
import Testing

@Suite struct RefusalTests {
  @Test func decomposeRefusesACompositeThatReadsAView() throws {
    var graph = Graph()
    let x = graph.addInput("x", .f64(2, 3))
    let view = View(shape: [3, 2], strides: [1, 3])
    let composite = TestComposite(hasKernel: false, depth: 1)
    let y = try graph.addNode(composite, [Operand(x, view: view)], origins: [])
    graph.outputs = [GraphOutput(name: "y", operand: Operand(y[0]))]
    let error = #expect(throws: ApusError.self) { try Decompose().run(on: &graph) }
    #expect(error?.kind == .invalidGraph)
    #expect(error?.what.contains("test_composite reads a view") == true)
  }

  @Test func decomposeRefusesADecompositionWithoutEnd() throws {
    var graph = Graph()
    let x = graph.addInput("x", .f64(2))
    let y = try graph.addNode(
      TestComposite(hasKernel: false, depth: 40), [Operand(x)], origins: [])
    graph.outputs = [GraphOutput(name: "y", operand: Operand(y[0]))]
    let error = #expect(throws: ApusError.self) { try Decompose().run(on: &graph) }
    #expect(error?.what == "decompositions do not come to an end after 16 rounds")
  }

  @Test func decomposeCanTakeApartWhatHasAKernel() throws {
    var graph = try Graph(
      parsing: """
        input %0 "x" : f64[2]
        %1 = test_composite(%0) {kernel=true, depth=2} : f64[2]
        output "y" = %1
        """, ops: .testing)
    let before = graph
    #expect(try Decompose(everything: true).run(on: &graph) == ["decomposed": 2])
    #expect(graph.nodes.map(\.op.mnemonic) == ["exp", "mul", "exp", "mul"])
    try expectEqualValues(before, graph)
  }

  @Test func foldConstantsLeavesABadIndexToTheRun() throws {
    let text = """
      constant %0 : f64[2] = [1.0, 2.0]
      constant %1 : i64[1] = [7]
      %2 = gather(%0, %1) {axis=0, along=false} : f64[1]
      output "y" = %2
      """
    var graph = try Graph(parsing: text, ops: .all)
    #expect(try FoldConstants().run(on: &graph).isEmpty)
    let error = #expect(throws: ApusError.self) { try graph.interpret() }
    #expect(error?.kind == .outOfRange)
  }

  @Test func foldConstantsKeepsToItsLimit() throws {
    let text = """
      constant %0 : f64[8] = splat 1.0
      %1 = exp(%0) : f64[8]
      output "y" = %1
      """
    var graph = try Graph(parsing: text, ops: .all)
    #expect(try FoldConstants(limit: 7).run(on: &graph).isEmpty)
    #expect(try FoldConstants(limit: 8).run(on: &graph) == ["folded": 1])
  }
}
