// Lets updates scale their gradients: what clipping by norm has every gradient multiplied by.
//
// Assumes:    nothing; finds more where equal nodes are one and before loops take the products.
// Guarantees: the same values, in the same bits. No update that scales nothing yet reads a product of an
//             array and one number that nobody else reads.
//
//     %1 = mul(%g, %s) : f32[8]                       %1, %2 = momentum_step(%w, %g, %v, %rate, %s)
//     %2, %3 = momentum_step(%w, %1, %v, %rate) {…} →   {…, scaled=true}

import ApusGraph
import ApusOps

/// Fuses the scaling of a gradient into the update that reads it.
package struct FuseGradientScale: Pass {
  package static let name = "fuse-gradient-scale"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let (makers, uses) = (graph.definingNodes, graph.useCounts)
    var products = Set<Int>()
    for (index, node) in graph.nodes.enumerated() {
      guard var update = node.op as? any UpdateOp, update.parameters == 1, !update.isScaled,
        case let gradient = node.operands[1], gradient.view == nil,
        uses[gradient.value.index] == 1, let maker = makers[gradient.value.index],
        case let product = graph.nodes[maker], product.op is Multiply,
        product.recomputation == node.recomputation,
        let number = product.operands.firstIndex(where: {
          $0.view == nil && graph.type(of: $0).rank == 0
        })
      else { continue }
      let array = product.operands[1 - number]
      // The array is read as the update reads its gradient, or the product would have repeated it.
      guard graph.type(of: array) == graph.type(of: gradient),
        array.view?.isContiguous ?? true
      else { continue }
      update.isScaled = true
      var operands = node.operands
      operands[1] = array
      operands.append(product.operands[number])
      graph.nodes[index] = node.absorbing(product, as: update, operands: operands)
      products.insert(maker)
    }
    return graph.remove(absorbed: products)
  }
}
