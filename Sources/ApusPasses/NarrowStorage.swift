// Stores activations and their gradients as bf16.
//
// Assumes:    loops and products with epilogues are made: what still crosses between nodes is stored.
// Guarantees: arithmetic stays f32, and so does what is assigned to states, returned, computed for an
//             update (the gradients of parameters), or made by a reduction (statistics, losses). A value
//             is stored as bf16 where its producer rounds on storing and every reader widens on loading;
//             values differ by that rounding alone, to nearest even.
//
//     %1 = exp(%0) : f32[64]                %1 = loop(%0) {…, program=["v0 = exp(a0)",
//     %2 = sum(%1) {axes=[0], …} : f32[]  →   "v1 = cast(v0) {to=bf16}"], outputs=[1]} : bf16[64]
//     output "y" = %2                       %2 = loop(%1) {…, program=["v0 = cast(a0) {to=f32}",
//                                             "v1 = sum(v0)"], outputs=[1]} : f32[1]
//                                           %3 = reshape(%2) {shape=[]} : f32[]
//                                           output "y" = %3

import ApusGraph
import ApusOps

/// Halves the memory of values that only loops and matrix products read. Runs where it is asked for,
/// which `Precision.mixed` does.
package struct NarrowStorage: Pass {
  package static let name = "narrow-storage"
  package static let isOptional = true

  /// The type in which values are stored.
  static let storage = DType.bf16

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let narrow = NarrowValues(graph).values
    var statistics = Statistics()
    guard !narrow.isEmpty else { return statistics }
    var rewriter = GraphRewriter(graph)
    for node in graph.nodes {
      let touches =
        node.operands.contains { narrow.contains($0.value) }
        || node.results.contains { narrow.contains($0) }
      if touches, let op = node.op as? any NarrowableOp {
        try emit(Self.narrowed(op, node, graph, narrow), for: node, &rewriter)
      } else {
        try rewriter.copy(node)
      }
      for result in node.results where narrow.contains(result) {
        let type = graph.type(of: result)
        statistics["values"] += 1
        statistics["bytes"] += type.byteCount - type.with(Self.storage).byteCount
      }
    }
    graph = rewriter.finish()
    return statistics
  }

  /// The node's op in the form that reads and makes narrow values.
  private static func narrowed(
    _ op: any NarrowableOp, _ node: Node, _ graph: Graph, _ narrow: Set<ValueID>
  ) -> any Op {
    func stored(_ value: ValueID) -> DType {
      narrow.contains(value) ? storage : graph.type(of: value).dtype
    }
    return op.storing(
      operands: node.operands.map { stored($0.value) }, results: node.results.map(stored),
      of: NodeTypes(node, in: graph))
  }

  private func emit(_ op: any Op, for node: Node, _ rewriter: inout GraphRewriter) throws {
    let results = try rewriter.emit(
      op, node.operands.map { rewriter.map($0) }, origins: node.origins,
      recomputation: node.recomputation)
    for (old, new) in zip(node.results, results) {
      var value = new
      // A loop keeps the axes that a reduction drops.
      let shape = rewriter.source.type(of: old).shape
      if rewriter.result.type(of: new).shape != shape {
        value = try rewriter.emit(
          Reshape(shape), [Operand(new)], origins: node.origins,
          recomputation: node.recomputation)[0]
      }
      rewriter.replace(old, by: Operand(value))
    }
  }
}

extension NodeTypes {
  init(_ node: Node, in graph: Graph) {
    self.init(
      operands: node.operands.map { graph.type(of: $0) },
      results: node.results.map { graph.type(of: $0) })
  }
}
