// Lets products that are gradients update what they are the gradients of.
//
// Assumes:    MultiTensorUpdate has taken the updates of small parameters.
// Guarantees: the same values, in the same bits. Of a weight whose gradient is a matrix product that
//             nobody but its momentum step reads, the gradient is never stored. Only where the product's
//             kernel can take the step in its registers (`MatMulMomentumStep.joins`).
//
//     %1 = matmul(%x, %y) : f32[8,9]                     %1, %2 = matmul_momentum_step(
//     %2, %3 = momentum_step(%w, %1, %v, %rate) {…}   →    %x, %y, %w, %v, %rate) {…}
//     assign %w = %2                                     assign %w = %1
//     assign %v = %3                                     assign %v = %2

import ApusGraph
import ApusOps

/// Fuses momentum steps into the products that make their gradients.
package struct FuseUpdate: Pass {
  package static let name = "fuse-update"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let (makers, uses) = (graph.definingNodes, graph.useCounts)
    var products = Set<Int>()
    for (index, node) in graph.nodes.enumerated() {
      guard let step = node.op as? MomentumStep, node.operands.allSatisfy({ $0.view == nil }),
        case let gradient = node.operands[1].value, uses[gradient.index] == 1,
        let maker = makers[gradient.index], let op = graph.nodes[maker].op as? MatMul,
        case let product = graph.nodes[maker], product.recomputation == node.recomputation,
        MatMulMomentumStep.joins(op, product.operands.map { graph.type(of: $0) }, step)
      else { continue }
      var rest = node.operands
      rest.remove(at: 1)
      graph.nodes[index] = node.absorbing(
        product, as: MatMulMomentumStep(op, step), operands: product.operands + rest)
      products.insert(maker)
    }
    return graph.remove(absorbed: products)
  }
}
