// Fused loops: text, types, reference.

import ApusGraph
import ApusOps
import Testing

@Suite struct LoopTests {
  static let program = LoopProgram(
    [
      .init(.constant(0.1, .f32), []),
      .init(.apply(Multiply()), [.operand(0), .value(0)]),
      .init(.apply(Cast(to: .bf16)), [.value(1)]),
      .init(.apply(Cast(to: .f32)), [.value(2)]),
      .init(.reduce(Sum.self), [.value(3)]),
    ], outputs: [3, 4])

  static func graph() throws -> Graph {
    let loop = Loop(domain: [2, 3], reducedAxes: [1], program: program)
    var graph = Graph()
    let x = graph.addInput("x", .f32(2, 3))
    let results = try graph.addNode(loop, [Operand(x)], origins: [])
    for (index, result) in results.enumerated() {
      graph.outputs.append(GraphOutput(name: "\(index)", operand: Operand(result)))
    }
    return graph
  }

  @Test func program_readsBackFromItsText() throws {
    let graph = try Self.graph()
    #expect(try Graph(parsing: graph.description, ops: .all) == graph)
    #expect(graph.description.contains("\"v2 = cast(v1) {to=bf16}\""))
  }

  @Test func reducedOutput_keepsItsFoldedAxes() throws {
    let graph = try Self.graph()
    #expect(graph.nodes[0].results.map { graph.type(of: $0) } == [.f32(2, 3), .f32(2, 1)])
  }

  @Test func reference_runsTheProgram() throws {
    let x = NDArray([1, 2, 3, 4, 5, 6], shape: [2, 3])
    let run = try Self.graph().interpret(inputs: [x], widened: false)
    let rounded = x.floats.map { BFloat16.float(bits: BFloat16.bits(of: $0 * 0.1)) }
    #expect(run.outputs[0].floats == rounded)
    #expect(
      run.outputs[1].floats == [
        rounded[0] + rounded[1] + rounded[2], rounded[3] + rounded[4] + rounded[5],
      ])
  }

  @Test(arguments: [
    "v0 = exp(a1)", "v0 = exp(v0)", "v1 = exp(a0)", "v0 = nothing(a0)", "v0 = exp(a0) {", "v0 exp",
    "v0 = matmul(a0, a0)", "v0 = exp(a-1)", "",
  ])
  func malformedProgram_isRefused(line: String) {
    let text = """
      input %0 "x" : f32[2]
      %1 = loop(%0) {domain=[2], axes=[], program=["\(line)"], outputs=[0]} : f32[2]
      """
    #expect(throws: ApusError.self) { try Graph(parsing: text, ops: .all) }
  }
}
