// Gives contractions (matrix products, convolutions) the elementwise work on their results, and with
// it what that work reads: a function of one other array which nobody else reads.
//
// Assumes:    views are folded; elementwise nodes are single ones, not loops yet.
// Guarantees: the same values, in the same bits. A value that only the program reads never reaches
//             memory. A product that is a parameter's gradient is left alone: the optimiser's pass
//             takes all parameters at once.
//
//     %2 = matmul(%0, %1) {…} : f32[64,128]          %3 = fused_matmul(%0, %1, %b) {…,
//     %3 = add(%2, %b) : f32[64,128]           →         program=["v0 = add(a0, a1)",
//     %4 = relu(%3) : f32[64,128]                        "v1 = relu(v0)"], outputs=[1]}
//     output "y" = %4                                output "y" = %3

import ApusGraph
import ApusOps

/// Fuses elementwise nodes into the contractions that feed them.
package struct FuseEpilogues: Pass {
  package static let name = "fuse-epilogues"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    guard graph.nodes.indices.contains(where: { graph.nodes[$0].op is any Contraction }) else {
      return [:]
    }
    var finder = EpilogueFinder(graph)
    let epilogues = graph.nodes.indices.compactMap { finder.epilogue(of: $0) }
    var statistics = Statistics()
    guard !epilogues.isEmpty else { return statistics }
    // A fused node stands where its last member stood: there all it reads is known.
    var emitted: [Int: Epilogue] = [:]
    var members = Set<Int>()
    for epilogue in epilogues {
      emitted[epilogue.members.last!] = epilogue
      members.formUnion(epilogue.members + [epilogue.product])
      statistics["products"] += 1
      statistics["fused"] += epilogue.members.count
    }
    var rewriter = GraphRewriter(graph)
    let constants = LoopConstants(graph)
    for (index, node) in graph.nodes.enumerated() {
      if let epilogue = emitted[index] {
        try emit(epilogue, graph, constants, &rewriter)
      } else if !members.contains(index) {
        try rewriter.copy(node)
      }
    }
    graph = rewriter.finish()
    return statistics
  }

  private func emit(
    _ epilogue: Epilogue, _ graph: Graph, _ constants: LoopConstants,
    _ rewriter: inout GraphRewriter
  ) throws {
    let product = graph.nodes[epilogue.product]
    var builder = LoopBuilder(graph, constants)
    builder.operands = [Operand(product.results[0])]
    for index in epilogue.members { builder.add(graph.nodes[index]) }
    let nodes = epilogue.members.reversed() + [epilogue.product]
    let origins = nodes.flatMap { graph.nodes[$0].origins }.unique()
    guard let contraction = product.op as? any Contraction else {
      throw ApusError(
        .invalidGraph, "\(Self.name): \(product.op.mnemonic) has no epilogue",
        expected: "a contraction")
    }
    let op = contraction.fused(
      LoopProgram(
        builder.instructions, outputs: epilogue.outputs.map { builder.values[$0]! }))
    let operands = product.operands + builder.operands.dropFirst()
    let results = try rewriter.emit(
      op, operands.map { rewriter.map($0) }, origins: origins,
      recomputation: product.recomputation)
    for (old, new) in zip(epilogue.outputs, results) { rewriter.replace(old, by: Operand(new)) }
  }
}

/// A product and the elementwise nodes that go into it, in order.
private struct Epilogue {
  var product: Int
  var members: [Int]
  /// The values that are read outside.
  var outputs: [ValueID]
}

private struct EpilogueFinder {
  let graph: Graph
  private let producers: [Int?]
  private let readers: [[Int]]
  /// By value: whether an output or an assignment reads it.
  private let escaping: [Bool]
  /// Values that only elementwise ops of their shape part from a state's next value: among them the
  /// gradients of parameters.
  private let updates: [Bool]
  /// Nodes that went into an earlier product.
  private var taken = Set<Int>()

  /// Bounds that keep a program within the tile machine's slots.
  private static let maximumMembers = 24
  private static let maximumOperands = 12

  init(_ graph: Graph) {
    self.graph = graph
    producers = graph.definingNodes
    readers = graph.readers
    escaping = graph.escaping
    updates = Self.updates(graph, producers)
  }

  private static func updates(_ graph: Graph, _ producers: [Int?]) -> [Bool] {
    var found = [Bool](repeating: false, count: graph.types.count)
    var open = graph.assignments.map(\.operand).filter { graph.type(of: $0).count > 1 }
    while let operand = open.popLast() {
      guard operand.view == nil, !found[operand.value.index] else { continue }
      found[operand.value.index] = true
      guard let producer = producers[operand.value.index],
        graph.nodes[producer].op is any ElementwiseOp
      else { continue }
      let shape = graph.type(of: operand).shape
      open += graph.nodes[producer].operands.filter { graph.type(of: $0).shape == shape }
    }
    return found
  }

  /// What the product at `index` takes in; nil where that is nothing.
  mutating func epilogue(of index: Int) -> Epilogue? {
    guard let contraction = graph.nodes[index].op as? any Contraction, contraction.takesProgram
    else { return nil }
    let product = graph.nodes[index].results[0]
    guard !updates[product.index] else { return nil }
    var best: Epilogue?
    var epilogue = Epilogue(product: index, members: [], outputs: [])
    var inside: Set<ValueID> = [product]
    // Nodes that read a member, first come first: the next one may need what comes between.
    while epilogue.members.count < Self.maximumMembers,
      let next = candidates(epilogue).first(where: { canTake($0, contraction, epilogue, inside) })
    {
      take(next, &epilogue, &inside)
      // The product itself is no output of a program: it must be used up inside.
      // Without outputs it is dead code, where the pass that removes it is left out.
      if let outputs = outputs(epilogue, inside), !outputs.isEmpty, !outputs.contains(product) {
        epilogue.outputs = outputs
        best = epilogue
      }
    }
    while var whole = best, whole.members.count < Self.maximumMembers,
      let next = functions(whole).first(where: { canTake($0, contraction, whole, values(whole)) })
    {
      var inside = values(whole)
      take(next, &whole, &inside)
      best = whole
    }
    if let best { taken.formUnion(best.members) }
    return best
  }

  private func take(_ index: Int, _ epilogue: inout Epilogue, _ inside: inout Set<ValueID>) {
    epilogue.members = (epilogue.members + [index]).sorted()
    inside.insert(graph.nodes[index].results[0])
  }

  private func values(_ epilogue: Epilogue) -> Set<ValueID> {
    Set((epilogue.members + [epilogue.product]).map { graph.nodes[$0].results[0] })
  }

  /// Nodes whose results only members read, and which read one array: an activation's derivative that
  /// a gradient is multiplied by. One that reads two would cost as much memory as it saves.
  private func functions(_ epilogue: Epilogue) -> [Int] {
    epilogue.members.flatMap { graph.nodes[$0].operands }.compactMap { operand in
      guard operand.view == nil, let index = producers[operand.value.index],
        !epilogue.members.contains(index), index != epilogue.product,
        !escaping[operand.value.index],
        readers[operand.value.index].allSatisfy({ epilogue.members.contains($0) })
      else { return nil }
      let arrays = graph.nodes[index].operands.filter { graph.type(of: $0).count > 1 }
      return Set(arrays).count == 1 ? index : nil
    }
  }

  /// Readers of the values inside that are not inside themselves, in order. One that stands behind another
  /// reader of the same value cannot be taken before that one, so the first of each value will do.
  private func candidates(_ epilogue: Epilogue) -> [Int] {
    var found: [Int] = []
    for index in [epilogue.product] + epilogue.members {
      for result in graph.nodes[index].results {
        if let reader = readers[result.index].first(where: { !epilogue.members.contains($0) }),
          !found.contains(reader)
        {
          found.append(reader)
        }
      }
    }
    return found.sorted()
  }

  private func canTake(
    _ index: Int, _ contraction: any Contraction, _ epilogue: Epilogue, _ inside: Set<ValueID>
  ) -> Bool {
    let node = graph.nodes[index]
    let product = graph.nodes[epilogue.product]
    let domain = graph.type(of: product.results[0]).shape
    guard node.op is any ElementwiseOp, node.results.count == 1, !taken.contains(index),
      node.recomputation == product.recomputation,
      graph.type(of: node.results[0]).shape == domain,
      Loop.supports(node.op, node.operands.map { graph.type(of: $0) })
    else { return false }
    let values = inside.union(node.results)
    var whole = epilogue
    whole.members = (epilogue.members + [index]).sorted()
    let operands = Set(
      whole.members.flatMap { graph.nodes[$0].operands }.filter { !values.contains($0.value) })
    for operand in node.operands {
      if values.contains(operand.value) {
        if operand.view != nil { return false }
        continue
      }
      let type = graph.type(of: operand)
      let view = operand.view ?? View(dense: type.shape)
      if !contraction.canFollow(view, result: domain) { return false }
    }
    return operands.count <= Self.maximumOperands && outputs(whole, values) != nil
  }

  /// The values inside that are read outside; nil where one is needed before the last member.
  private func outputs(_ epilogue: Epilogue, _ inside: Set<ValueID>) -> [ValueID]? {
    let last = epilogue.members.last!
    var outputs: [ValueID] = []
    for index in [epilogue.product] + epilogue.members {
      let value = graph.nodes[index].results[0]
      // Readers are in order, and members few: the first that is none is found at once.
      let outside = readers[value.index].first { !epilogue.members.contains($0) }
      if let outside, outside < last { return nil }
      if outside != nil || escaping[value.index] { outputs.append(value) }
    }
    return outputs
  }
}
