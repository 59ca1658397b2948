// Computes while compiling what depends on constants alone.
//
// Assumes: nothing.
// Guarantees: a node whose operands are all constants is left only where its result is large, larger than
// its operands together, or where the op refuses its operands (an index outside its table: that error
// belongs to the run).
//
// The result is the reference's: floats computed in double and rounded once, integers as kernels compute them
// (`Op.computed`). Limits on size keep the graph small: broadcasting a scalar is cheaper done by the reader
// than stored.
//
//     constant %0 : f64[2] = [1.0, 2.0]
//     constant %1 : f64[] = [0.5]          =>      constant %0 : f64[2] = [0.5, 1.0]
//     %2 = mul(%0, %1) : f64[2]                    output "y" = %0
//     output "y" = %2

import ApusGraph

/// Replaces small nodes of constants by constants.
package struct FoldConstants: Pass {
  package static let name = "fold-constants"

  /// The most elements that a folded result may have.
  package var limit: Int

  package init(limit: Int = 4096) { self.limit = limit }

  /// Results of up to this many elements are folded even where they outgrow their operands.
  private static let small = 16

  package func run(on graph: inout Graph) throws -> Statistics {
    var isConstant = [Bool](repeating: false, count: graph.types.count)
    for constant in graph.constants { isConstant[constant.value.index] = true }
    func readsConstants(_ index: Int) -> Bool {
      graph.nodes[index].operands.allSatisfy { isConstant[$0.value.index] }
    }
    var statistics = Statistics()
    guard graph.nodes.indices.contains(where: readsConstants) else { return statistics }
    var rewriter = GraphRewriter(graph)
    var known: [ValueID: NDArray] = [:]
    for constant in rewriter.result.constants { known[constant.value] = constant.array }
    for (index, node) in graph.nodes.enumerated() {
      guard readsConstants(index),
        let results = fold(
          node, node.operands.map { rewriter.map($0) }, known,
          types: node.results.map(graph.type))
      else {
        try rewriter.copy(node)
        continue
      }
      for (old, array) in zip(node.results, results) {
        isConstant[old.index] = true
        let new = rewriter.result.addConstant(array)
        known[new] = array
        rewriter.replace(old, by: Operand(new))
      }
      statistics["folded"] += 1
    }
    guard !statistics.isEmpty else { return statistics }
    graph = rewriter.finish()
    return statistics
  }

  private func fold(
    _ node: Node, _ operands: [Operand], _ known: [ValueID: NDArray], types: [TensorType]
  ) -> [NDArray]? {
    let size = types.reduce(0) { $0 + $1.count }
    guard size <= limit else { return nil }
    var given = 0
    for operand in operands {
      guard let array = known[operand.value] else { return nil }
      given += array.count
    }
    guard operands.isEmpty || size <= max(given, Self.small) else { return nil }
    let arrays = operands.map { operand -> NDArray in
      let array = known[operand.value]!
      return operand.view.map { array.viewed(through: $0) } ?? array
    }
    return try? node.op.computed(arrays, results: types)
  }
}
