// Joins the updates of small parameters into one node.
//
// Assumes:    FuseElementwise has made what has no name of its own one loop a parameter.
// Guarantees: the same values. Updates by one rule, or loops with one program over dense arrays, whose
//             results go to states alone and whose scalars are the same values, become one node. Only
//             small ones: a large update keeps both cores busy by itself, and joined with others it would
//             run when its gradient has left the cache, and keep the gradient's memory until then.
//
//     %1, %2 = momentum_step(%a, %g, %v, %rate)       %1, %2, %3, %4 = momentum_step(
//     %3, %4 = momentum_step(%b, %h, %w, %rate)   →     %a, %g, %v, %b, %h, %w, %rate)
//                                                       {…, parameters=2, …}
//     %3 = loop(%0, %1) {domain=[8], …}           %3, %4 = multi_loop(%0, %2, %1)
//     %4 = loop(%2, %1) {domain=[4], …}     →       {domains=[[8], [4]], shared=[1], …}

import ApusGraph
import ApusOps

/// Merges small parameter updates by the same rule.
package struct MultiTensorUpdate: Pass {
  package static let name = "multi-tensor-update"

  /// Elements of an update that counts as small: its arrays fit a core's L2 cache together.
  static let smallCount = 1 << 15

  package init() {}

  /// What two updates must have in common.
  private struct Key: Hashable {
    /// An update op as of one parameter, or a loop's program.
    var rule: AnyHashable
    /// Each operand that is a scalar, by its place in the update of one parameter; nil for an array.
    var scalars: [Operand?]
    var dtypes: [DType]
    var recomputation: Int
  }

  package func run(on graph: inout Graph) throws -> Statistics {
    var statistics = Statistics()
    let groups = updates(graph).filter { $0.members.count > 1 }
    guard !groups.isEmpty else { return statistics }
    var memberOf: [Int: Int] = [:]
    for (group, update) in groups.enumerated() {
      for member in update.members { memberOf[member] = group }
    }
    var rewriter = GraphRewriter(graph)
    for (index, node) in graph.nodes.enumerated() {
      guard let group = memberOf[index] else {
        try rewriter.copy(node)
        continue
      }
      // The last one's operands are there: emit them all in its place.
      if groups[group].members.last == index {
        try emit(groups[group], graph, &rewriter)
        statistics["joined"] += groups[group].members.count
      }
    }
    graph = rewriter.finish()
    return statistics
  }

  private typealias Update = (key: Key, members: [Int])

  /// Small updates whose results go to assignments alone, by what they share, in order.
  private func updates(_ graph: Graph) -> [Update] {
    let uses = graph.useCounts
    var assigned = [Int](repeating: 0, count: graph.types.count)
    for assignment in graph.assignments { assigned[assignment.operand.value.index] += 1 }
    var groups: [Update] = []
    var places: [Key: Int] = [:]
    for (index, node) in graph.nodes.enumerated() {
      guard
        node.results.allSatisfy({
          graph.type(of: $0).count <= Self.smallCount
            && uses[$0.index] == assigned[$0.index] && assigned[$0.index] > 0
        }), let key = key(node, graph)
      else { continue }
      if let place = places[key] {
        groups[place].members.append(index)
      } else {
        places[key] = groups.count
        groups.append((key, [index]))
      }
    }
    return groups
  }

  /// What a node must have in common with others to be joined with them; nil where it cannot be.
  private func key(_ node: Node, _ graph: Graph) -> Key? {
    if var update = node.op as? any UpdateOp {
      let numbers = node.operands.indices.filter { !update.isArray($0) }.map { node.operands[$0] }
      update.parameters = 1
      return Key(
        rule: AnyHashable(update), scalars: numbers,
        dtypes: [graph.type(of: node.operands[0]).dtype], recomputation: node.recomputation)
    }
    guard let loop = node.op as? Loop, !loop.program.reduces, loop.domain.rank > 0,
      node.results.allSatisfy({ graph.type(of: $0).shape == loop.domain })
    else { return nil }
    var scalars: [Operand?] = []
    for operand in node.operands {
      let type = graph.type(of: operand)
      if type.rank == 0 && operand.view == nil {
        scalars.append(operand)
      } else {
        guard type.shape == loop.domain, operand.view?.isContiguous ?? true else { return nil }
        scalars.append(nil)
      }
    }
    return Key(
      rule: AnyHashable(loop.program), scalars: scalars,
      dtypes: node.operands.map { graph.type(of: $0).dtype }, recomputation: node.recomputation)
  }

  private func emit(_ update: Update, _ graph: Graph, _ rewriter: inout GraphRewriter) throws {
    let nodes = update.members.map { graph.nodes[$0] }
    let (op, operands) = joined(nodes, update.key, graph)
    let origins = nodes.flatMap(\.origins).unique()
    let results = try rewriter.emit(
      op, operands.map { rewriter.map($0) }, origins: origins,
      recomputation: update.key.recomputation)
    for (old, new) in zip(nodes.flatMap(\.results), results) {
      rewriter.replace(old, by: Operand(new))
    }
  }

  /// The op of all the nodes, and its operands.
  private func joined(_ nodes: [Node], _ key: Key, _ graph: Graph) -> (any Op, [Operand]) {
    if var update = nodes[0].op as? any UpdateOp {
      let arrays = nodes.map { node in
        node.operands.prefix(node.operands.count - key.scalars.count)
      }
      let each = type(of: update).arrays
      update.parameters = arrays.reduce(0) { $0 + $1.count } / each
      return (update, arrays.flatMap { $0 } + key.scalars.compactMap { $0 })
    }
    let count = key.scalars.count
    let operands = (0..<count).flatMap { index in
      key.scalars[index].map { [$0] } ?? nodes.map { $0.operands[index] }
    }
    let op = MultiLoop(
      domains: nodes.map { graph.type(of: $0.results[0]).shape },
      shared: (0..<count).filter { key.scalars[$0] != nil }, operandCount: count,
      program: (nodes[0].op as! Loop).program)
    return (op, operands)
  }
}
