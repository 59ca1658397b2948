// Which values of a graph may be stored as bf16.

import ApusGraph
import ApusOps

/// The choice that `NarrowStorage` carries out.
///
/// A value is narrow where its producer can round it, all its readers can widen it, and rounding it is no
/// loss that lasts: not an output, not what a state becomes or is computed from (the gradients of
/// parameters), not a reduction's result or what is computed from one element by element (a loss, a
/// norm's statistics), not a value that a reader repeats over a larger domain (it is small), no scalar.
///
/// Loops, elementwise ops, reductions and matrix products read narrow values; all but reductions make
/// them. A view (`ViewOp`) is narrow as the value is that it looks at. All other ops have kernels for
/// f32 alone.
///
/// Nor does a product of few rows or one column read or make any: it packs bf16, which that little work
/// does not repay, where f32 would be read as it lies.
struct NarrowValues {
  /// From so many rows on a product of bf16 takes less time than one of f32.
  private static let fewestRows = 4

  private(set) var values: Set<ValueID>
  private let graph: Graph

  init(_ graph: Graph) {
    self.graph = graph
    let kept = Set(graph.outputs.map(\.operand.value))
      .union(Self.updates(graph)).union(Self.statistics(graph))
    values = []
    for node in graph.nodes {
      for result in node.results where !kept.contains(result) {
        let type = graph.type(of: result)
        // f64 counts as f32: it is what tests are written in.
        guard type.dtype == .f32 || type.dtype == .f64, type.count > 1, makes(result, node) else {
          continue
        }
        values.insert(result)
      }
    }
    removeUnread()
    while removeRefused() {}
  }

  /// Whether the node can store that result rounded.
  private func makes(_ result: ValueID, _ node: Node) -> Bool {
    switch node.op {
    case is MatMul, is FusedMatMul: productGains(node)
    case is any ViewOp: true
    case let loop as Loop: graph.type(of: result).count == loop.domain.count
    case is any ElementwiseOp: isRunByLoops(node)
    default: false
    }
  }

  /// Whether the node can widen that operand.
  private func reads(_ operand: Operand, _ node: Node) -> Bool {
    switch node.op {
    case is MatMul: multipliesNarrow(operand, node)
    case is FusedMatMul:
      node.operands.prefix(2).contains(operand)
        ? multipliesNarrow(operand, node)
        : graph.type(of: operand).count == graph.type(of: node.results[0]).count
    case is any ViewOp: values.contains(node.results[0])
    case let loop as Loop: graph.type(of: operand).count == loop.domain.count
    case is any ElementwiseOp:
      isRunByLoops(node)
        && graph.type(of: operand).count == graph.type(of: node.results[0]).count
    case is any ReductionOp: isRunByLoops(node)
    default: false
    }
  }

  /// The rows of each matrix of a product, all of them where one right operand serves all.
  private func rows(_ node: Node) -> Int {
    let shape = graph.type(of: node.results[0]).shape
    let right = graph.type(of: node.operands[1]).shape
    let isShared = right.count == right[-2] * right[-1]
    return isShared ? shape.count / max(shape[-1], 1) : shape[-2]
  }

  /// Whether the product has work enough to make a rounded result, or to read its left operand as such.
  private func productGains(_ node: Node) -> Bool {
    rows(node) >= Self.fewestRows && graph.type(of: node.results[0]).shape[-1] > 1
  }

  /// As above; a right operand of few columns or rows is read often enough, but for a vector's product.
  private func multipliesNarrow(_ operand: Operand, _ node: Node) -> Bool {
    if node.operands[0] == operand { return productGains(node) }
    return rows(node) > 1 && graph.type(of: node.results[0]).shape[-1] > 1
  }

  private func isRunByLoops(_ node: Node) -> Bool {
    Loop.supports(node.op, node.operands.map { graph.type(of: $0) })
  }

  /// Values that nobody reads gain nothing.
  private mutating func removeUnread() {
    let uses = graph.useCounts
    values = values.filter { uses[$0.index] > 0 }
  }

  /// Takes out what some node cannot read or make; whether there was any. Views depend on each other, so
  /// this goes on until nothing changes.
  private mutating func removeRefused() -> Bool {
    let before = values.count
    for node in graph.nodes {
      for operand in node.operands
      where values.contains(operand.value) && !reads(operand, node) {
        values.remove(operand.value)
      }
      if node.op is any ViewOp, let source = node.operands.first,
        !values.contains(source.value)
      {
        values.remove(node.results[0])
      }
    }
    return values.count < before
  }

  /// What states become, and what that is computed from element by element: slots, parameters, and the
  /// gradients of parameters, up to the products and reductions that make them.
  private static func updates(_ graph: Graph) -> Set<ValueID> {
    let producers = graph.definingNodes
    var found = Set<ValueID>()
    var open = graph.assignments.map(\.operand.value)
    while let value = open.popLast() {
      guard found.insert(value).inserted, let producer = producers[value.index] else { continue }
      let node = graph.nodes[producer]
      switch node.op {
      case is Loop, is MultiLoop, is any ElementwiseOp, is any ViewOp:
        let count = graph.type(of: value).count
        open += node.operands.lazy.filter {
          node.op is MultiLoop || graph.type(of: $0).count == count
        }.map(\.value)
      default: break
      }
    }
    return found
  }

  /// Results of reductions, and what is computed from them element by element.
  private static func statistics(_ graph: Graph) -> Set<ValueID> {
    var found = Set<ValueID>()
    for node in graph.nodes {
      switch node.op {
      case is any ReductionOp: found.formUnion(node.results)
      case is Loop, is any ElementwiseOp, is any ViewOp:
        let domain = (node.op as? Loop)?.domain ?? graph.type(of: node.results[0]).shape
        let derives = node.operands.contains {
          found.contains($0.value) && graph.type(of: $0).count == domain.count
        }
        found.formUnion(
          node.results.filter { derives || graph.type(of: $0).count != domain.count })
      default: break
      }
    }
    return found
  }
}
