// Writes composites that have no kernel in primitive ops.
//
// Assumes: no operand of a composite is read through a view (fold-views comes later).
// Guarantees: every composite that is left has a kernel for its operand types. The nodes that take a
// composite's place have its origins and recomputation.
//
//     %1 = swish2(%0) : f64[4]      =>      %1 = exp(%0) : f64[4]
//                                           %2 = mul(%0, %1) : f64[4]

import ApusGraph

/// Replaces composites without a kernel by their decomposition.
package struct Decompose: Pass {
  package static let name = "decompose"

  /// Decompose composites that have a kernel too, for tests of kernels against their decomposition.
  package var everything: Bool

  package init(everything: Bool = false) { self.everything = everything }

  /// How often a decomposition may contain further composites.
  private static let depth = 16

  package func run(on graph: inout Graph) throws -> Statistics {
    var statistics = Statistics()
    for _ in 0..<Self.depth {
      let count = try sweep(&graph)
      if count == 0 { return statistics }
      statistics["decomposed"] += count
    }
    throw ApusError(
      .invalidGraph, "decompositions do not come to an end after \(Self.depth) rounds",
      expected: "composites that decompose into simpler ops")
  }

  private func sweep(_ graph: inout Graph) throws -> Int {
    var count = 0
    guard
      graph.nodes.indices.contains(where: {
        graph.nodes[$0].op is any CompositeOp && composite(graph.nodes[$0], in: graph) != nil
      })
    else { return 0 }
    var rewriter = GraphRewriter(graph)
    var trace: Trace?
    for node in graph.nodes {
      guard let op = composite(node, in: graph) else {
        try rewriter.copy(node)
        continue
      }
      let operands = node.operands.map { rewriter.map($0) }
      guard operands.allSatisfy({ $0.view == nil }) else {
        throw ApusError(
          .invalidGraph, "\(op.mnemonic) reads a view before it is decomposed",
          at: node.origins.first?.description, expected: "decompose before fold-views")
      }
      let results = try record(op, operands, for: node, in: &rewriter, &trace)
      for (old, new) in zip(node.results, results) {
        rewriter.replace(old, by: Operand(new))
      }
      count += 1
    }
    graph = rewriter.finish()
    return count
  }

  private func composite(_ node: Node, in graph: Graph) -> (any CompositeOp)? {
    guard let op = node.op as? any CompositeOp else { return nil }
    return everything || !op.hasKernel(node.operands.map { graph.type(of: $0) }) ? op : nil
  }

  /// Records the decomposition at the end of the new graph, through a trace that borrows it.
  ///
  /// - `earlier`: the trace of the composite before, which knows the graph's constants.
  private func record(
    _ op: any CompositeOp, _ operands: [Operand], for node: Node, in rewriter: inout GraphRewriter,
    _ earlier: inout Trace?
  ) throws -> [ValueID] {
    let first = rewriter.result.nodes.count
    // The trace must be the graph's only owner, or its first node would copy the whole graph.
    let borrowed = rewriter.result
    rewriter.result = Graph()
    let trace = Trace(consume borrowed, continuing: earlier)
    earlier = trace
    trace.recomputation = node.recomputation
    let results = try trace.withOrigin(node.origins.first ?? Origin()) {
      try Trace.$current.withValue(trace) {
        try op.decompose(operands.map { trace.tensor($0.value) })
      }
    }
    try trace.check()
    rewriter.result = trace.release()
    for index in first..<rewriter.result.nodes.count {
      rewriter.result.nodes[index].origins = node.origins
    }
    let wanted = try op.resultTypes(operands.map { rewriter.result.type(of: $0) })
    guard results.map(\.type) == wanted else {
      throw ApusError(
        .invalidGraph, "the decomposition of \(op.mnemonic) gives \(results.map(\.type))",
        at: node.origins.first?.description, expected: "\(wanted)")
    }
    return results.compactMap(\.value)
  }
}
