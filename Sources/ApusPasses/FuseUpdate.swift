// Lets products that are gradients update what they are the gradients of.
//
// Assumes:    FuseElementwise has made each parameter's update one loop, and MultiTensorUpdate has taken
//             the small ones.
// Guarantees: the same values, in the same bits. Of a weight whose gradient is a matrix product that
//             nobody but the update reads, the gradient is never stored. Only where the product's kernel
//             does the update in its registers (`FusedMatMul.updates`).
//
//     %1 = matmul(%x, %y) : f32[8,9]              %1, %2 = fused_matmul(%x, %y, %v, %rate, %w)
//     %2, %3 = loop(%v, %1, %rate, %w) {…}   →      {program=["v0 = constant() {value=0.5, …}",
//     assign %v = %2                                "v1 = mul(a1, v0)", "v2 = add(v1, a0)",
//     assign %w = %3                                "v3 = mul(v2, a2)", "v4 = sub(a3, v3)"], …}

import ApusGraph
import ApusOps

/// Fuses the optimiser's updates into the products that make their gradients.
public struct FuseUpdate: Pass {
  public static let name = "fuse-update"

  public init() {}

  /// An update's loop, and which of its operands is the product of which node.
  private struct Update {
    var product: Int
    var operand: Int
    var op: FusedMatMul
  }

  public func run(on graph: inout Graph) throws -> Statistics {
    var statistics = Statistics()
    var updates: [Int: Update] = [:]
    let (producers, uses) = (graph.definingNodes, graph.useCounts)
    for index in graph.nodes.indices where graph.nodes[index].op is Loop {
      updates[index] = update(index, graph, producers, uses)
    }
    guard !updates.isEmpty else { return statistics }
    let products = Set(updates.values.map(\.product))
    var rewriter = GraphRewriter(graph)
    for (index, node) in graph.nodes.enumerated() where !products.contains(index) {
      guard let update = updates[index] else {
        try rewriter.copy(node)
        continue
      }
      let product = graph.nodes[update.product]
      let origins = (node.origins + product.origins).unique()
      var others = node.operands
      others.remove(at: update.operand)
      let results = try rewriter.emit(
        update.op, (product.operands + others).map { rewriter.map($0) }, origins: origins,
        recomputation: node.recomputation)
      for (old, new) in zip(node.results, results) { rewriter.replace(old, by: Operand(new)) }
      statistics["updates"] += 1
    }
    graph = rewriter.finish()
    return statistics
  }

  private func update(
    _ index: Int, _ graph: Graph, _ producers: [Int?], _ uses: [Int]
  ) -> Update? {
    let node = graph.nodes[index]
    guard let loop = node.op as? Loop, !loop.program.reduces,
      node.operands.allSatisfy({ $0.view == nil }),
      let operand = node.operands.firstIndex(where: {
        producers[$0.value.index].map { graph.nodes[$0].op is MatMul } ?? false
      }),
      case let gradient = node.operands[operand].value, uses[gradient.index] == 1,
      let producer = producers[gradient.index], let op = graph.nodes[producer].op as? MatMul,
      graph.nodes[producer].recomputation == node.recomputation
    else { return nil }
    var program = loop.program
    // The product becomes operand 0.
    for place in program.instructions.indices {
      program.instructions[place].arguments = program.instructions[place].arguments.map {
        guard case .operand(let old) = $0 else { return $0 }
        return .operand(old == operand ? 0 : old < operand ? old + 1 : old)
      }
    }
    var others = node.operands
    others.remove(at: operand)
    let factors = graph.nodes[producer].operands
    guard
      FusedMatMul.updates(
        op, factors.map { graph.type(of: $0) }, by: program, others.map { graph.type(of: $0) })
    else { return nil }
    return Update(product: producer, operand: operand, op: FusedMatMul(op, program: program))
  }
}
