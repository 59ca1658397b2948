// Joins the last linear layer, its cross-entropy and their gradients, so that logits never reach memory.
//
// Assumes:    losses and their gradients are fused, views are folded, products have no epilogues yet.
// Guarantees: the same values, up to rounding. A loss is left alone whose logits or their gradient
//             anybody else reads (a metric, an output), whose target is a distribution, or whose logits
//             are so few that the last level of the cache holds them.
//
//     %2 = matmul(%x, %w) {…} : f32[2048,8192]
//     %3 = add(%2, %b) : f32[2048,8192]
//     %4, %5 = cross_entropy_with_gradient(%3, %u, %labels) {…} : f32[], f32[2048,8192]
//     %6 = matmul(%5, %w) {…, transposeB=true} : f32[2048,384]
//     %7 = matmul(%x, %5) {transposeA=true, …} : f32[384,8192]
//     %8 = sum(%5) {axes=[0], …} : f32[8192]
//         =>
//     %2, %3, %4, %5 = linear_cross_entropy(%x, %w, %b, %u, %labels) {…} : f32[], f32[2048,384], …

import ApusGraph
import ApusOps

/// Fuses linear layers with the cross-entropy of their results.
package struct FuseLinearCrossEntropy: Pass {
  package static let name = "fuse-linear-cross-entropy"

  /// Logits of fewer bytes stay as they are: together with their gradient the last level of a cache
  /// holds them, and cutting them costs more than it saves.
  package let leastBytes: Int
  /// The kernel takes up to 256 rows at a time: fewer than two such chunks leave nothing to save.
  package let leastRows: Int

  package init(leastBytes: Int = 16 << 20, leastRows: Int = 512) {
    self.leastBytes = leastBytes
    self.leastRows = leastRows
  }

  package func run(on graph: inout Graph) throws -> Statistics {
    guard
      graph.nodes.indices.contains(where: {
        graph.nodes[$0].op is CrossEntropy || graph.nodes[$0].op is CrossEntropyWithGradient
      })
    else { return [:] }
    let finder = LinearLossFinder(graph, leastBytes: leastBytes, leastRows: leastRows)
    let losses = graph.nodes.indices.compactMap { finder.loss(at: $0) }
    guard !losses.isEmpty else { return [:] }
    let byIndex = Dictionary(uniqueKeysWithValues: losses.map { ($0.index, $0) })
    let members = Set(losses.flatMap(\.members))
    var rewriter = GraphRewriter(graph)
    for (index, node) in graph.nodes.enumerated() {
      if let loss = byIndex[index] {
        try emit(loss, graph, &rewriter)
      } else if !members.contains(index) {
        try rewriter.copy(node)
      }
    }
    graph = rewriter.finish()
    return ["losses": losses.count, "fused": members.count]
  }

  private func emit(_ loss: LinearLoss, _ graph: Graph, _ rewriter: inout GraphRewriter) throws {
    let origins = loss.members.flatMap { graph.nodes[$0].origins }.unique()
    let recomputation = graph.nodes[loss.index].recomputation
    let results = try rewriter.emit(
      loss.op, loss.operands.map { rewriter.map($0) }, origins: origins,
      recomputation: recomputation)
    for (old, new) in zip(loss.results, results) {
      var value = new
      let shape = graph.type(of: old).shape
      if rewriter.result.type(of: new).shape != shape {
        value = try rewriter.emit(
          Reshape(shape), [Operand(new)], origins: origins, recomputation: recomputation)[0]
      }
      rewriter.replace(old, by: Operand(value))
    }
  }
}

/// A loss that can be fused: the node to put in its place.
private struct LinearLoss {
  /// The cross-entropy, where the new node goes: all that it reads is known there.
  var index: Int
  /// The nodes that it replaces, in order.
  var members: [Int]
  var op: LinearCrossEntropy
  var operands: [Operand]
  /// The values that the new node's results stand for.
  var results: [ValueID]
}

private struct LinearLossFinder {
  let graph: Graph
  let leastBytes: Int
  let leastRows: Int
  private let producers: [Int?]
  private let readers: [[Int]]
  /// Values that outputs and assignments read.
  private let escaping: Set<ValueID>

  init(_ graph: Graph, leastBytes: Int, leastRows: Int) {
    self.graph = graph
    self.leastBytes = leastBytes
    self.leastRows = leastRows
    producers = graph.definingNodes
    readers = graph.readers
    escaping = Set(graph.outputs.map(\.operand.value) + graph.assignments.map(\.operand.value))
  }

  /// The linear layer in front of a loss.
  private struct Layer {
    var members: [Int]
    /// `[N, D]`
    var x: Operand
    var weight: Operand
    var transposesWeight: Bool
    var bias: Operand?
  }

  /// The gradients behind a loss.
  private struct Flow {
    var members: [Int] = []
    var x: ValueID?
    var weight: ValueID?
    var bias: ValueID?
  }

  // MARK: Matching

  func loss(at index: Int) -> LinearLoss? {
    let node = graph.nodes[index]
    let rule: CrossEntropyRule
    var rest = Array(node.operands.dropFirst())
    var upstream: Operand?
    switch node.op {
    case let op as CrossEntropyWithGradient:
      rule = op.rule
      upstream = rest.removeFirst()
    case let op as CrossEntropy:
      rule = op.rule
      // The log-sum is for a gradient that is computed apart.
      guard isUnread(node.results[1]) else { return nil }
    default: return nil
    }
    let logits = graph.type(of: node.operands[0])
    let rows = logits.shape.count / max(logits.shape[-1], 1)
    guard logits.dtype == .f32, logits.byteCount >= leastBytes, rows >= leastRows,
      !graph.type(of: rest[0]).dtype.isFloat, let layer = layer(of: node, rows: rows)
    else { return nil }
    var flow = Flow()
    if upstream != nil {
      guard let found = self.flow(of: node, layer, rows: rows) else { return nil }
      flow = found
    }
    let op = LinearCrossEntropy(
      rule, transposeW: layer.transposesWeight, hasBias: layer.bias != nil,
      gradients: .init(x: flow.x != nil, weight: flow.weight != nil, bias: flow.bias != nil))
    // Labels, and what there is of the loss for each row, as vectors.
    guard let labels = reshaped(rest[0], [rows]) else { return nil }
    rest[0] = labels
    if rule.reduction == .none, let whole = upstream {
      guard let vector = reshaped(whole, [rows]) else { return nil }
      upstream = vector
    }
    return LinearLoss(
      index: index, members: layer.members + [index] + flow.members, op: op,
      operands: [layer.x, layer.weight] + [layer.bias, upstream].compactMap { $0 } + rest,
      results: [node.results[0]] + [flow.x, flow.weight, flow.bias].compactMap { $0 })
  }

  /// The product (and bias) that makes a loss's logits, where nobody else reads any of it.
  private func layer(of loss: Node, rows: Int) -> Layer? {
    var members: [Int] = []
    var at = loss.operands[0]
    /// The node that makes `at`, if that goes nowhere else.
    func step() -> Node? {
      guard at.view == nil, readers[at.value.index].count == 1, !escaping.contains(at.value),
        let index = producers[at.value.index],
        graph.nodes[index].recomputation == loss.recomputation
      else { return nil }
      members.insert(index, at: 0)
      return graph.nodes[index]
    }
    let classes = graph.type(of: at).shape[-1]
    guard var node = step() else { return nil }
    // Examples and their places may have become one axis.
    if node.op is Reshape {
      at = node.operands[0]
      guard graph.type(of: at).shape.dimensions.last == classes, let next = step() else {
        return nil
      }
      node = next
    }
    var bias: Operand?
    if node.op is Add {
      guard let position = node.operands.firstIndex(where: { isBias($0, classes) }) else {
        return nil
      }
      bias = node.operands[position]
      at = node.operands[1 - position]
      guard graph.type(of: at) == graph.type(of: node.results[0]), let next = step() else {
        return nil
      }
      node = next
    }
    guard let product = node.op as? MatMul, !product.transposeA,
      graph.type(of: node.operands[1]).rank == 2,
      let x = reshaped(node.operands[0], [rows, graph.type(of: node.operands[0]).shape[-1]])
    else { return nil }
    return Layer(
      members: members, x: x, weight: node.operands[1], transposesWeight: product.transposeB,
      bias: bias)
  }

  private func isBias(_ operand: Operand, _ classes: Int) -> Bool {
    graph.type(of: operand).shape == [classes] && operand.view?.isContiguous ?? true
  }

  /// What becomes of the logits' gradient; nil where it is read for anything else.
  private func flow(of loss: Node, _ layer: Layer, rows: Int) -> Flow? {
    let gradient = loss.results[1]
    guard !escaping.contains(gradient), !readers[gradient.index].isEmpty else { return nil }
    var flow = Flow()
    for index in Set(readers[gradient.index]).sorted() {
      let node = graph.nodes[index]
      guard node.recomputation == loss.recomputation,
        node.operands.count(where: { $0.value == gradient }) == 1
      else { return nil }
      let value = node.results[0]
      if flow.x == nil, isGradientOfX(node, gradient, layer) {
        flow.x = value
      } else if flow.weight == nil, isGradientOfWeight(node, gradient, layer, rows) {
        flow.weight = value
      } else if flow.bias == nil, layer.bias != nil, isGradientOfBias(node, gradient, rows) {
        flow.bias = value
      } else {
        return nil
      }
      flow.members.append(index)
    }
    return flow
  }

  /// `G Wᵀ`
  private func isGradientOfX(_ node: Node, _ gradient: ValueID, _ layer: Layer) -> Bool {
    guard let product = node.op as? MatMul, !product.transposeA else { return false }
    return product.transposeB != layer.transposesWeight && isWhole(node.operands[0], gradient)
      && graph.type(of: node.operands[0]).shape[-1] == graph.type(of: gradient).shape[-1]
      && node.operands[1] == layer.weight
  }

  /// `Xᵀ G` for a weight `[D, C]`, `Gᵀ X` for one of `[C, D]`.
  private func isGradientOfWeight(
    _ node: Node, _ gradient: ValueID, _ layer: Layer, _ rows: Int
  ) -> Bool {
    guard let product = node.op as? MatMul, product.transposeA, !product.transposeB else {
      return false
    }
    let (x, flow) = layer.transposesWeight ? (1, 0) : (0, 1)
    return graph.type(of: node.operands[flow]).shape == [rows, graph.type(of: gradient).shape[-1]]
      && isWhole(node.operands[flow], gradient) && node.operands[x] == layer.x
  }

  /// The sum over all rows.
  private func isGradientOfBias(_ node: Node, _ gradient: ValueID, _ rows: Int) -> Bool {
    guard let sum = node.op as? Sum, isWhole(node.operands[0], gradient) else { return false }
    let shape = graph.type(of: node.operands[0]).shape
    return shape[-1] == graph.type(of: gradient).shape[-1] && sum.axes == Array(0..<shape.rank - 1)
  }

  // MARK: Operands

  private func isUnread(_ value: ValueID) -> Bool {
    readers[value.index].isEmpty && !escaping.contains(value)
  }

  /// Whether an operand is all of a value, as it lies.
  private func isWhole(_ operand: Operand, _ value: ValueID) -> Bool {
    guard operand.value == value else { return false }
    guard let view = operand.view else { return true }
    return view.isContiguous && view.offset == 0
      && view.shape.count == graph.type(of: value).shape.count
  }

  /// The operand under another shape, as FoldViews would write it; nil where strides cannot tell.
  private func reshaped(_ operand: Operand, _ shape: Shape) -> Operand? {
    let whole = graph.type(of: operand.value).shape
    guard let view = (operand.view ?? View(dense: whole)).reshaped(shape) else { return nil }
    return Operand(operand.value, view: view == View(dense: whole) ? nil : view)
  }
}
