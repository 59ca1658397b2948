// Joins elementwise chains and reductions into loops.
//
// Assumes:    views are folded and matrix products have taken their epilogues; what is left between
//             them is worth one pass over memory, not one an op.
// Guarantees: the same values. A value that only the loop reads never reaches memory; a loop's nodes
//             have one domain, its reductions one set of axes, and nothing is computed twice. What a
//             reduction of rows makes is read again in its loop where the row is short enough to be
//             kept: softmax and normalisation are one pass.
//
//     %1 = mul(%0, %0) : f32[64]             %1 = loop(%0) {domain=[64], axes=[],
//     %2 = exp(%1) : f32[64]            →          program=["v0 = mul(a0, a0)", "v1 = exp(v0)"],
//     output "y" = %2                              outputs=[1]} : f32[64]
//                                            output "y" = %1

import ApusGraph
import ApusOps

/// Fuses elementwise ops and reductions into `loop` nodes.
package struct FuseElementwise: Pass {
  package static let name = "fuse-elementwise"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    var groups = FusionGroups(graph)
    groups.merge()
    var statistics = Statistics()
    guard groups.members.contains(where: { $0.count > 1 }) else { return statistics }
    var rewriter = GraphRewriter(graph)
    let readers = graph.readers
    let constants = LoopConstants(graph)
    let kept = graph.escaping
    for group in groups.inOrder() {
      if group.count == 1 {
        try rewriter.copy(graph.nodes[group[0]])
      } else {
        let inside = Set(group)
        // What the world outside reads.
        let results = group.map { graph.nodes[$0].results[0] }.filter { value in
          kept[value.index] || readers[value.index].contains { !inside.contains($0) }
        }
        // Dead code, where the pass that removes it is left out.
        if results.isEmpty { continue }
        try emitLoop(group, results, graph, constants, &rewriter)
        statistics["loops"] += 1
        statistics["fused"] += group.count
      }
    }
    graph = rewriter.finish()
    return statistics
  }

  /// Emits one loop for the nodes of a group, given in order, that stores `results`.
  private func emitLoop(
    _ group: [Int], _ results: [ValueID], _ graph: Graph, _ constants: LoopConstants,
    _ rewriter: inout GraphRewriter
  ) throws {
    var builder = LoopBuilder(graph, constants)
    for index in group { builder.add(graph.nodes[index]) }
    let first = group.first { graph.nodes[$0].op is any ReductionOp } ?? group[0]
    let reduction = graph.nodes[first].op as? any ReductionOp
    let loop = Loop(
      domain: FusionGroups.domain(graph.nodes[first], graph), reducedAxes: reduction?.axes ?? [],
      program: LoopProgram(builder.instructions, outputs: results.map { builder.values[$0]! }))
    let origins = group.reversed().flatMap { graph.nodes[$0].origins }.unique()
    let recomputation = graph.nodes[group[0]].recomputation
    let values = try rewriter.emit(
      loop, builder.operands.map { rewriter.map($0) }, origins: origins,
      recomputation: recomputation)
    for (old, new) in zip(results, values) {
      var value = new
      let shape = graph.type(of: old).shape
      if rewriter.result.type(of: new).shape != shape {
        value = try rewriter.emit(
          Reshape(shape), [Operand(new)], origins: origins, recomputation: recomputation)[0]
      }
      rewriter.replace(old, by: Operand(value))
    }
  }
}

/// The constants of one element, which programs hold themselves.
struct LoopConstants {
  fileprivate var arrays: [ValueID: NDArray] = [:]

  init(_ graph: Graph) {
    for constant in graph.constants where constant.array.count == 1 {
      arrays[constant.value] = constant.array
    }
  }
}

/// Turns nodes into a loop's program.
struct LoopBuilder {
  let graph: Graph
  var instructions: [LoopProgram.Instruction] = []
  var operands: [Operand] = []
  /// The instruction of each value made inside.
  var values: [ValueID: Int] = [:]
  private let constants: LoopConstants
  private var constantInstructions: [ValueID: Int] = [:]

  init(_ graph: Graph, _ constants: LoopConstants) {
    self.graph = graph
    self.constants = constants
  }

  mutating func add(_ node: Node) {
    let arguments = node.operands.map { argument($0) }
    if let op = node.op as? any ElementwiseOp {
      instructions.append(.init(.apply(op), arguments))
    } else if let op = node.op as? any ReductionOp {
      instructions.append(.init(.reduce(type(of: op)), arguments))
    }
    values[node.results[0]] = instructions.count - 1
  }

  private mutating func argument(_ operand: Operand) -> LoopProgram.Argument {
    // A view of a value made inside can only repeat a row's: that is what arguments do.
    if let value = values[operand.value] { return .value(value) }
    let type = graph.type(of: operand)
    // A scalar constant is an immediate; one of more axes could widen the result's shape.
    if type.rank == 0, let array = constants.arrays[operand.value], isExact(array) {
      if let known = constantInstructions[operand.value] { return .value(known) }
      instructions.append(.init(.constant(array.scalar, array.dtype), []))
      constantInstructions[operand.value] = instructions.count - 1
      return .value(instructions.count - 1)
    }
    if let known = operands.firstIndex(of: operand) { return .operand(known) }
    operands.append(operand)
    return .operand(operands.count - 1)
  }

  /// Whether the element survives being written as a double.
  private func isExact(_ array: NDArray) -> Bool {
    NDArray(doubles: [array.scalar], type: array.type) == array
  }
}
