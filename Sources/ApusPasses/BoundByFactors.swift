// Lets bounds look at the factors of products instead of at the products.
//
// Assumes:    nothing; before products are fused with anything.
// Guarantees: a bound that is no smaller, and finite only where all it looks at is. Of an array that is a
//             matrix product of fewer elements than its factors have, the array itself is looked at.
//
//     %3 = matmul(%x, %y) : f32[512,512]                    %3 = matmul(%x, %y)
//     %4 = magnitude_bound(%3) {plain=[0], products=[]}  →  %4 = magnitude_bound(%x, %y) {plain=[], products=[0, 1, 8]}
//
// What the product makes may then be used up where it is made: a weight's gradient by the weight's update.

import ApusGraph
import ApusOps

/// Bounds products by their factors.
package struct BoundByFactors: Pass {
  package static let name = "bound-by-factors"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let makers = graph.definingNodes
    var statistics = Statistics()
    for (index, node) in graph.nodes.enumerated() {
      guard let bound = node.op as? MagnitudeBound else { continue }
      var operands: [Operand] = []
      var places: [Operand: Int] = [:]
      func place(_ operand: Operand) -> Int {
        if let known = places[operand] { return known }
        places[operand] = operands.count
        operands.append(operand)
        return operands.count - 1
      }
      var plain: [Int] = []
      var products: [MagnitudeBound.Product] = []
      for product in bound.products {
        products.append(
          .init(
            place(node.operands[product.a]), place(node.operands[product.b]), terms: product.terms))
      }
      for number in bound.plain {
        let operand = node.operands[number]
        guard let (a, b, terms) = factors(of: operand, makers, graph) else {
          plain.append(place(operand))
          continue
        }
        products.append(.init(place(a), place(b), terms: terms))
        statistics["products"] += 1
      }
      guard products.count > bound.products.count else { continue }
      graph.nodes[index].op = MagnitudeBound(plain: plain, products: products)
      graph.nodes[index].operands = operands
    }
    return statistics
  }

  /// The factors of an operand that is a product of more elements than they have.
  private func factors(
    of operand: Operand, _ makers: [Int?], _ graph: Graph
  ) -> (a: Operand, b: Operand, terms: Int)? {
    guard operand.view == nil, let maker = makers[operand.value.index],
      case let node = graph.nodes[maker], let product = node.op as? MatMul,
      let a = whole(node.operands[0], graph), let b = whole(node.operands[1], graph)
    else { return nil }
    let types = node.operands.map { graph.type(of: $0) }
    let elements = types[0].count + (a == b ? 0 : types[1].count)
    guard elements < graph.type(of: operand).count else { return nil }
    let terms = types[0].shape[product.transposeA ? -2 : -1]
    return (a, b, terms)
  }

  /// The value that an operand reads, where it reads all of it and no more: as it is, or in another shape, such
  /// as flattened images.
  private func whole(_ operand: Operand, _ graph: Graph) -> Operand? {
    guard let view = operand.view else { return operand }
    let isAll = view.shape.count == graph.type(of: operand.value).count
    return isAll && view.isContiguous && view.offset == 0 ? Operand(operand.value) : nil
  }
}
