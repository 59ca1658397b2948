// Joins the updates of small parameters into one node.
//
// Assumes:    FuseElementwise has made each parameter's update one loop whose results are assigned to
//             states.
// Guarantees: the same values. Loops with one program over dense arrays, whose scalars are the same
//             values, become one `multi_loop`. Only small ones: a large update keeps both cores busy by
//             itself, and joined with others it would run when its gradient has left the cache, and keep
//             the gradient's memory until then.
//
//     %3 = loop(%0, %1) {domain=[8], …}           %3, %4 = multi_loop(%0, %2, %1)
//     %4 = loop(%2, %1) {domain=[4], …}     →       {domains=[[8], [4]], shared=[1], …}
//     assign %0 = %3                              assign %0 = %3
//     assign %2 = %4                              assign %2 = %4

import ApusGraph
import ApusOps

/// Merges small parameter updates that run the same program.
public struct MultiTensorUpdate: Pass {
  public static let name = "multi-tensor-update"

  /// Elements of an update that counts as small: its arrays fit a core's L2 cache together.
  static let smallCount = 1 << 15

  public init() {}

  /// What two updates must have in common.
  private struct Key: Hashable {
    var program: LoopProgram
    /// The scalar behind each shared operand, by its place; nil for an array.
    var scalars: [ValueID?]
    var dtypes: [DType]
    var recomputation: Int
  }

  public func run(on graph: inout Graph) throws -> Statistics {
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

  /// Small loops whose results go to assignments alone, by what they share, in order.
  private func updates(_ graph: Graph) -> [Update] {
    let uses = graph.useCounts
    var assigned = [Int](repeating: 0, count: graph.types.count)
    for assignment in graph.assignments { assigned[assignment.operand.value.index] += 1 }
    var groups: [Update] = []
    var places: [Key: Int] = [:]
    for (index, node) in graph.nodes.enumerated() {
      guard let loop = node.op as? Loop, !loop.program.reduces, loop.domain.rank > 0,
        loop.domain.count <= Self.smallCount,
        node.results.allSatisfy({
          graph.type(of: $0).shape == loop.domain && uses[$0.index] == assigned[$0.index]
            && assigned[$0.index] > 0
        })
      else { continue }
      var scalars: [ValueID?] = []
      var isPlain = true
      for operand in node.operands {
        let type = graph.type(of: operand)
        if type.rank == 0 && operand.view == nil {
          scalars.append(operand.value)
        } else {
          scalars.append(nil)
          isPlain = isPlain && type.shape == loop.domain && operand.view?.isContiguous ?? true
        }
      }
      guard isPlain else { continue }
      let key = Key(
        program: loop.program, scalars: scalars,
        dtypes: node.operands.map { graph.type(of: $0).dtype },
        recomputation: node.recomputation)
      if let place = places[key] {
        groups[place].members.append(index)
      } else {
        places[key] = groups.count
        groups.append((key, [index]))
      }
    }
    return groups
  }

  private func emit(_ update: Update, _ graph: Graph, _ rewriter: inout GraphRewriter) throws {
    let nodes = update.members.map { graph.nodes[$0] }
    let count = update.key.scalars.count
    var operands: [Operand] = []
    for index in 0..<count {
      let sources = update.key.scalars[index] == nil ? nodes : [nodes[0]]
      operands += sources.map { rewriter.map($0.operands[index]) }
    }
    let op = MultiLoop(
      domains: nodes.map { graph.type(of: $0.results[0]).shape },
      shared: (0..<count).filter { update.key.scalars[$0] != nil }, operandCount: count,
      program: update.key.program)
    let results = try rewriter.emit(
      op, operands, origins: nodes.flatMap(\.origins).unique(),
      recomputation: update.key.recomputation)
    for (old, new) in zip(nodes.flatMap(\.results), results) {
      rewriter.replace(old, by: Operand(new))
    }
  }
}
