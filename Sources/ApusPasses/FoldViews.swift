// Reads through transposes, broadcasts, slices and reshapes instead of computing them.
//
// Assumes: nothing.
// Guarantees: an op that only says where elements lie (`ViewOp`) is left where its result is an output or
// an assigned value, where a reader does not accept the view, or where strides cannot express it. All other
// readers take the elements from where they were, through `Operand.view`.
//
// Where the rearranged value must be made anyway, its other readers use it as well, unless the view is as
// good for reading as the value: a broadcast or a mere reshape.
//
//     %1 = broadcast(%0) {shape=[3, 2]} : f64[3,2]
//     %2 = exp(%1) : f64[3,2]
//  =>
//     %1 = exp(%0 view [3,2] strides [0,1] offset 0) : f64[3,2]

import ApusGraph
import ApusOps

/// Folds rearrangements of elements into the operands of their readers.
package struct FoldViews: Pass {
  package static let name = "fold-views"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    guard graph.nodes.indices.contains(where: { graph.nodes[$0].op is any ViewOp }) else {
      return [:]
    }
    let plan = ViewPlan(graph)
    var statistics = Statistics()
    var rewriter = GraphRewriter(graph)
    for node in graph.nodes {
      if plan.vanishes(node) {
        statistics["nodes"] += 1
        continue
      }
      let operands = node.operands.indices.map { plan.operand($0, of: node) }
      statistics["operands"] += zip(operands, node.operands).count { $0 != $1 }
      try rewriter.emit(node.op, operands.map { rewriter.map($0) }, for: node)
    }
    guard !statistics.isEmpty else { return statistics }
    graph = rewriter.finish()
    return statistics
  }
}

/// Which rearranged values are made, and how each operand is read.
private struct ViewPlan {
  let graph: Graph
  /// For the result of a view op: the value and view it can be read from. By value index.
  private var sources: [Operand?]
  /// Whether the result of a view op is needed dense.
  private var isMade: [Bool]

  init(_ graph: Graph) {
    self.graph = graph
    sources = Array(repeating: nil, count: graph.types.count)
    isMade = Array(repeating: false, count: graph.types.count)
    for node in graph.nodes {
      guard let op = node.op as? any ViewOp else { continue }
      let inner = source(of: node.operands[0]) ?? node.operands[0]
      let view = inner.view ?? View(dense: graph.type(of: inner.value).shape)
      sources[node.results[0].index] = op.view(of: view).map { Operand(inner.value, view: $0) }
    }
    for operand in graph.outputs.map(\.operand) + graph.assignments.map(\.operand) {
      isMade[operand.value.index] = true
    }
    // Readers come after what they read: backwards, a reader's own fate is known when it is asked.
    for node in graph.nodes.reversed() where !vanishes(node) {
      for (index, operand) in node.operands.enumerated()
      where sources[operand.value.index] != nil && accepted(index, of: node) == nil {
        isMade[operand.value.index] = true
      }
    }
  }

  /// Whether nobody needs the node, a view op, to be computed.
  func vanishes(_ node: Node) -> Bool {
    let result = node.results[0].index
    return sources[result] != nil && !isMade[result]
  }

  /// How the node reads its operand `index`.
  func operand(_ index: Int, of node: Node) -> Operand {
    let operand = node.operands[index]
    guard let accepted = accepted(index, of: node) else { return operand }
    let isMade = isMade[operand.value.index]
    return isMade && !isAsGood(sources[operand.value.index]!.view!) ? operand : accepted
  }

  /// Whether reading through the view costs no more than reading the dense value.
  private func isAsGood(_ view: View) -> Bool {
    view.isContiguous || zip(view.shape.dimensions, view.strides).contains { $0 > 1 && $1 == 0 }
  }

  /// The operand through a view, where it can be read so and the op accepts it.
  private func accepted(_ index: Int, of node: Node) -> Operand? {
    guard let source = source(of: node.operands[index]) else { return nil }
    guard let view = source.view else { return source }
    let types = node.operands.map { graph.type(of: $0) }
    return node.op.accepts(view, at: index, of: types) ? source : nil
  }

  /// What an operand that reads the result of a view op can read instead.
  private func source(of operand: Operand) -> Operand? {
    guard let source = sources[operand.value.index] else { return nil }
    var view = source.view!
    if let outer = operand.view {
      guard let composed = view.composed(with: outer) else { return nil }
      view = composed
    }
    let isWhole = view == View(dense: graph.type(of: source.value).shape)
    return Operand(source.value, view: isWhole ? nil : view)
  }
}
