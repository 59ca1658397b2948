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
/// What an op can read and make it says itself (`NarrowableOp`); all others have kernels for f32 alone.
/// A view (`ViewOp`) is narrow as the value is that it looks at.
struct NarrowValues {
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
    removeRefused()
  }

  /// Whether the node can store that result rounded.
  private func makes(_ result: ValueID, _ node: Node) -> Bool {
    if node.op is any ViewOp { return true }
    guard let op = node.op as? any NarrowableOp, let index = node.results.firstIndex(of: result)
    else { return false }
    return op.makesNarrow(result: index, of: NodeTypes(node, in: graph))
  }

  /// Whether the node can widen the operand of that number.
  private func reads(_ index: Int, _ node: Node) -> Bool {
    if node.op is any ViewOp { return values.contains(node.results[0]) }
    guard let op = node.op as? any NarrowableOp else { return false }
    return op.readsNarrow(operand: index, of: NodeTypes(node, in: graph))
  }

  /// Values that nobody reads gain nothing.
  private mutating func removeUnread() {
    let uses = graph.useCounts
    values = values.filter { uses[$0.index] > 0 }
  }

  /// Takes out what some node cannot read or make. What a view looks at and what it makes are narrow
  /// together, so a node is looked at again when one of its values has been taken out.
  private mutating func removeRefused() {
    let (producers, readers) = (graph.definingNodes, graph.readers)
    var open = Array(graph.nodes.indices.reversed())
    func remove(_ value: ValueID) {
      guard values.remove(value) != nil else { return }
      if let producer = producers[value.index] { open.append(producer) }
      open += readers[value.index]
    }
    while let index = open.popLast() {
      let node = graph.nodes[index]
      for (position, operand) in node.operands.enumerated()
      where values.contains(operand.value) && !reads(position, node) {
        remove(operand.value)
      }
      if node.op is any ViewOp, let source = node.operands.first, !values.contains(source.value) {
        remove(node.results[0])
      }
    }
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
      case let update as any UpdateOp:
        open += node.operands.indices.filter { update.isArray($0) }.map { node.operands[$0].value }
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
