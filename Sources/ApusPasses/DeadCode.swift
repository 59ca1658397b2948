// Removes what nobody reads.
//
// Assumes: nothing.
// Guarantees: every node has a result that an output, an assignment or another node reads; every constant
// is read. Inputs and states stay, read or not: they are the graph's signature.
//
//     %1 = exp(%0) : f32[2]
//     %2 = add(%0, %0) : f32[2]      =>      %1 = add(%0, %0) : f32[2]
//     output "y" = %2                        output "y" = %1

import ApusGraph

/// Removes nodes and constants that no output or assignment depends on.
package struct DeadCode: Pass {
  package static let name = "dead-code"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    var isRead = [Bool](repeating: false, count: graph.types.count)
    for operand in graph.outputs.map(\.operand) + graph.assignments.map(\.operand) {
      isRead[operand.value.index] = true
    }
    var isLive = [Bool](repeating: false, count: graph.nodes.count)
    for index in graph.nodes.indices.reversed()
    where graph.nodes[index].results.contains(where: { isRead[$0.index] }) {
      isLive[index] = true
      for operand in graph.nodes[index].operands { isRead[operand.value.index] = true }
    }
    var statistics = Statistics()
    statistics["nodes"] = isLive.count { !$0 }
    statistics["constants"] = graph.constants.count { !isRead[$0.value.index] }
    guard !statistics.isEmpty else { return statistics }
    graph.nodes = zip(graph.nodes, isLive).compactMap { $1 ? $0 : nil }
    graph.compact()
    return statistics
  }
}
