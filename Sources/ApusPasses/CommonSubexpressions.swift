// Computes the same thing once.
//
// Assumes: nothing.
// Guarantees: no two nodes have the same op, attributes, operands and recomputation; no two constants are
// the same array. A node that stands for several lists the origins of all of them.
//
// Values are immutable and ops have no effects, so two equal applications are equal values; that holds for
// random ops too, whose key is an operand and whose stream is an attribute. What `checkpoint` recomputes
// has another recomputation number than the original and stays apart from it: merging the two would keep
// the very values alive that recomputing was to free.
//
//     %1 = exp(%0) : f64[2]
//     %2 = exp(%0) : f64[2]          =>      %1 = exp(%0) : f64[2]
//     %3 = add(%1, %2) : f64[2]              %2 = add(%1, %1) : f64[2]

import ApusGraph

/// Merges nodes that compute the same values, and constants that are the same array.
package struct CommonSubexpressions: Pass {
  package static let name = "common-subexpressions"

  package init() {}

  /// What makes two nodes equal.
  private struct Key: Hashable {
    var op: any Op
    var operands: [Operand]
    var recomputation: Int

    static func == (a: Key, b: Key) -> Bool {
      a.operands == b.operands && a.recomputation == b.recomputation && a.op.isEqual(to: b.op)
    }

    func hash(into hasher: inout Hasher) {
      hasher.combine(ObjectIdentifier(type(of: op)))
      op.hash(into: &hasher)
      hasher.combine(operands)
    }
  }

  package func run(on graph: inout Graph) throws -> Statistics {
    var statistics = Statistics()
    var rewriter = GraphRewriter(graph)
    var constants: [NDArray: ValueID] = [:]
    for constant in graph.constants {
      if let first = constants[constant.array] {
        rewriter.replace(constant.value, byMapped: Operand(first))
        statistics["constants"] += 1
      } else {
        constants[constant.array] = constant.value
      }
    }
    /// The places of what a node of the new graph stands for as well.
    var merged: [Int: [Origin]] = [:]
    /// The node of the new graph, by what it computes.
    var known: [Key: Int] = [:]
    for node in graph.nodes {
      let key = Key(
        op: node.op, operands: node.operands.map { rewriter.map($0) },
        recomputation: node.recomputation)
      if let index = known[key] {
        let first = rewriter.result.nodes[index]
        for (old, new) in zip(node.results, first.results) {
          rewriter.replace(old, by: Operand(new))
        }
        merged[index, default: []] += node.origins
        statistics["nodes"] += 1
      } else {
        known[key] = rewriter.result.nodes.count
        try rewriter.copy(node)
      }
    }
    for (index, origins) in merged {
      rewriter.result.nodes[index].origins = (rewriter.result.nodes[index].origins + origins)
        .unique()
    }
    guard !statistics.isEmpty else { return statistics }
    graph = rewriter.finish()
    return statistics
  }
}
