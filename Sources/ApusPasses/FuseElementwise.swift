// Joins elementwise chains and reductions into loops.
//
// Assumes:    views are folded and matrix products have taken their epilogues; what is left between
//             them is worth one pass over memory, not one an op.
// Guarantees: the same values. A value that only the loop reads never reaches memory; a loop's nodes
//             have one domain, its reductions one set of axes, and nothing is computed twice. What a
//             reduction of rows makes is read again in its loop where the row is short enough to be
//             kept: softmax and normalisation are one pass.
//
//     %1 = mul(%0, %0) : f32[64]             %1 = loop(%0) {domain=[64], axes=[],
//     %2 = exp(%1) : f32[64]            →          program=["v0 = mul(a0, a0)", "v1 = exp(v0)"],
//     output "y" = %2                              outputs=[1]} : f32[64]
//                                            output "y" = %1

import ApusGraph
import ApusOps

/// Fuses elementwise ops and reductions into `loop` nodes.
public struct FuseElementwise: Pass {
  public static let name = "fuse-elementwise"

  public init() {}

  public func run(on graph: inout Graph) throws -> Statistics {
    var groups = FusionGroups(graph)
    groups.merge()
    var statistics = Statistics()
    guard groups.members.contains(where: { $0.count > 1 }) else { return statistics }
    var rewriter = GraphRewriter(graph)
    let readers = graph.readers
    let kept = Set(graph.outputs.map(\.operand.value) + graph.assignments.map(\.operand.value))
    for group in groups.inOrder() {
      if group.count == 1 {
        try rewriter.copy(graph.nodes[group[0]])
      } else {
        let inside = Set(group)
        // What the world outside reads.
        let results = group.map { graph.nodes[$0].results[0] }.filter { value in
          kept.contains(value) || readers[value.index].contains { !inside.contains($0) }
        }
        try emitLoop(group, results, graph, &rewriter)
        statistics["loops"] += 1
        statistics["fused"] += group.count
      }
    }
    graph = rewriter.finish()
    return statistics
  }

  /// Emits one loop for the nodes of a group, given in order, that stores `results`.
  private func emitLoop(
    _ group: [Int], _ results: [ValueID], _ graph: Graph, _ rewriter: inout GraphRewriter
  ) throws {
    var builder = LoopBuilder(graph)
    for index in group { builder.add(graph.nodes[index]) }
    let first = group.first { graph.nodes[$0].op is any ReductionOp } ?? group[0]
    let reduction = graph.nodes[first].op as? any ReductionOp
    let loop = Loop(
      domain: FusionGroups.domain(graph.nodes[first], graph), reducedAxes: reduction?.axes ?? [],
      program: LoopProgram(builder.instructions, outputs: results.map { builder.values[$0]! }))
    var origins: [Origin] = []
    for origin in group.reversed().flatMap({ graph.nodes[$0].origins })
    where !origins.contains(origin) {
      origins.append(origin)
    }
    let recomputation = graph.nodes[group[0]].recomputation
    let values = try rewriter.emit(
      loop, builder.operands.map { rewriter.map($0) }, origins: origins,
      recomputation: recomputation)
    for (old, new) in zip(results, values) {
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

/// Turns nodes into a loop's program.
struct LoopBuilder {
  let graph: Graph
  var instructions: [LoopProgram.Instruction] = []
  var operands: [Operand] = []
  /// The instruction of each value made inside.
  var values: [ValueID: Int] = [:]
  private let constants: [ValueID: NDArray]
  private var constantInstructions: [ValueID: Int] = [:]

  init(_ graph: Graph) {
    self.graph = graph
    constants = Dictionary(
      uniqueKeysWithValues: graph.constants.filter { $0.array.count == 1 }.map {
        ($0.value, $0.array)
      })
  }

  mutating func add(_ node: Node) {
    let arguments = node.operands.map { argument($0) }
    if let op = node.op as? any ElementwiseOp {
      instructions.append(.init(.apply(op), arguments))
    } else if let op = node.op as? any ReductionOp {
      instructions.append(.init(.reduce(type(of: op)), arguments))
    }
    values[node.results[0]] = instructions.count - 1
  }

  private mutating func argument(_ operand: Operand) -> LoopProgram.Argument {
    // A view of a value made inside can only repeat a row's: that is what arguments do.
    if let value = values[operand.value] { return .value(value) }
    let type = graph.type(of: operand)
    // A scalar constant is an immediate; one of more axes could widen the result's shape.
    if type.rank == 0, let array = constants[operand.value], isExact(array) {
      if let known = constantInstructions[operand.value] { return .value(known) }
      instructions.append(.init(.constant(array.scalar, array.dtype), []))
      constantInstructions[operand.value] = instructions.count - 1
      return .value(instructions.count - 1)
    }
    if let known = operands.firstIndex(of: operand) { return .operand(known) }
    operands.append(operand)
    return .operand(operands.count - 1)
  }

  /// Whether the element survives being written as a double.
  private func isExact(_ array: NDArray) -> Bool {
    NDArray(doubles: [array.scalar], type: array.type) == array
  }
}

/// What the nodes of a loop walk over.
private struct FusionSpace {
  let domain: Shape
  /// The shape of a value for each row: the domain with its folded axes of extent 1.
  let rows: Shape
  let reductions: Int
  /// Whether what is reduced can be read again inside: the folded axes are the last ones, and a row is
  /// short enough to be kept.
  private let keepsRows: Bool

  /// Nil where the nodes have no domain in common, or reductions over different axes.
  init?(_ nodes: [Int], _ graph: Graph) {
    let folding = nodes.filter { graph.nodes[$0].op is any ReductionOp }
    let axes = folding.map { (graph.nodes[$0].op as! any ReductionOp).axes }
    let domain = FusionGroups.domain(graph.nodes[folding.first ?? nodes[0]], graph)
    self.domain = domain
    reductions = folding.count
    guard axes.allSatisfy({ $0 == axes[0] }),
      folding.allSatisfy({ FusionGroups.domain(graph.nodes[$0], graph) == domain })
    else { return nil }
    let folded = axes.first ?? []
    let rows = domain.reducing(folded, keepDims: true)
    self.rows = rows
    let lastReal = (0..<domain.rank).last { domain[$0] != 1 }
    keepsRows =
      !folded.isEmpty && folded == Array(domain.rank - folded.count..<domain.rank)
      && lastReal.map { folded.contains($0) } ?? false
      && folded.reduce(1) { $0 * domain[$1] } <= Loop.longestKeptRow
    for index in nodes where !(graph.nodes[index].op is any ReductionOp) {
      let own = FusionGroups.domain(graph.nodes[index], graph)
      guard own == domain || keepsRows && own == rows else { return nil }
    }
  }

  /// Whether a node inside makes a value for each row.
  func isOfRows(_ node: Node, _ graph: Graph) -> Bool {
    node.op is any ReductionOp || keepsRows && graph.type(of: node.results[0]).shape == rows
  }

  /// Whether an operand is a value for each row, as it is or repeated along the row.
  func readsRows(_ operand: Operand, _ graph: Graph) -> Bool {
    guard keepsRows else { return false }
    let type = graph.type(of: operand)
    guard let view = operand.view else { return type.shape == rows }
    guard view.offset == 0, (try? Shape.broadcast(view.shape, domain)) == domain else {
      return false
    }
    let (read, made) = (view.broadcast(to: domain), View(dense: rows).broadcast(to: domain))
    return (0..<domain.rank).allSatisfy {
      domain[$0] == 1 || read.strides[$0] == made.strides[$0]
    }
  }
}

/// The partition of a graph's nodes into loops and single nodes, grown by merging neighbours.
private struct FusionGroups {
  private let graph: Graph
  private let producers: [Int?]
  private let consumers: [[Int]]
  private var group: [Int]
  /// The nodes of each group in order; empty where the group was merged into another.
  private(set) var members: [[Int]]
  private let isFusable: [Bool]

  /// Bounds that keep a program within the tile machine's slots and its tiles within the L1 cache.
  private static let maximumInstructions = 36
  private static let maximumOperands = 20
  /// Where reductions are read again, every value has a slot of its own, and every reduction may be a
  /// phase.
  private static let maximumSlots = 24
  private static let maximumPhases = 6

  init(_ graph: Graph) {
    self.graph = graph
    producers = graph.definingNodes
    let readers = graph.readers
    consumers = graph.nodes.map { node in node.results.flatMap { readers[$0.index] } }
    group = Array(graph.nodes.indices)
    members = graph.nodes.indices.map { [$0] }
    isFusable = graph.nodes.map { node in
      node.results.count == 1
        && (node.op is any ElementwiseOp || node.op is any ReductionOp)
        && Loop.supports(node.op, node.operands.map { graph.type(of: $0) })
    }
  }

  /// The shape that a node walks over.
  static func domain(_ node: Node, _ graph: Graph) -> Shape {
    node.op is any ReductionOp
      ? graph.type(of: node.operands[0]).shape : graph.type(of: node.results[0]).shape
  }

  /// Tries to join every fusable node with the groups that make its operands, in order.
  mutating func merge() {
    for (index, node) in graph.nodes.enumerated() where isFusable[index] {
      for operand in node.operands {
        guard let producer = producers[operand.value.index], isFusable[producer],
          group[producer] != group[index], canMerge(group[producer], group[index])
        else { continue }
        join(group[producer], group[index])
      }
    }
  }

  private func canMerge(_ a: Int, _ b: Int) -> Bool {
    let nodes = members[a] + members[b]
    let recomputation = graph.nodes[nodes[0]].recomputation
    guard nodes.count <= Self.maximumInstructions,
      nodes.allSatisfy({ graph.nodes[$0].recomputation == recomputation }),
      let space = FusionSpace(nodes, graph)
    else { return false }
    let inside = Set(nodes)
    var operands = Set<Operand>()
    var readsRows = false
    for index in nodes {
      let node = graph.nodes[index]
      var shapes: [Shape] = []
      for operand in node.operands {
        shapes.append(graph.type(of: operand).shape)
        guard let producer = producers[operand.value.index], inside.contains(producer) else {
          operands.insert(operand)
          continue
        }
        if space.isOfRows(graph.nodes[producer], graph) {
          guard space.readsRows(operand, graph) else { return false }
          readsRows = true
          shapes[shapes.count - 1] = space.rows
        } else if operand.view != nil {
          // A value read both as it is and through a view would have to be stored first.
          return false
        }
      }
      // What only repeats a row's values is of the domain no more once it reads them themselves.
      if node.op is any ElementwiseOp,
        shapes.reduce([], { (try? Shape.broadcast($0, $1)) ?? $0 })
          != graph.type(of: node.results[0]).shape
      {
        return false
      }
    }
    if readsRows {
      guard nodes.count + operands.count <= Self.maximumSlots,
        space.reductions <= Self.maximumPhases
      else { return false }
    }
    return operands.count <= Self.maximumOperands && !hasDetour(from: a, to: b)
  }

  /// Groups that a search for a detour looks at before it takes one for granted, so that merging stays
  /// linear: what lies that far apart, as forward and backward of a layer do, has one.
  private static let detourLimit = 512

  /// Whether something outside both groups depends on `a` and is needed by `b`: joined, they would
  /// depend on themselves.
  private func hasDetour(from a: Int, to b: Int) -> Bool {
    let last = members[b].last!
    var seen = Set<Int>()
    var stack: [Int] = []
    func push(_ consumer: Int) {
      let next = group[consumer]
      // A group that starts after `b` has ended cannot lead back to it.
      guard next != a, next != b, members[next][0] < last else { return }
      if seen.insert(next).inserted { stack.append(next) }
    }
    for index in members[a] { consumers[index].forEach(push) }
    while let current = stack.popLast() {
      if seen.count > Self.detourLimit { return true }
      for index in members[current] {
        for consumer in consumers[index] {
          if group[consumer] == b || group[consumer] == a { return true }
          push(consumer)
        }
      }
    }
    return false
  }

  private mutating func join(_ a: Int, _ b: Int) {
    members[a] = (members[a] + members[b]).sorted()
    for index in members[b] { group[index] = a }
    members[b] = []
  }

  /// The groups in an order in which they can run, close to the nodes' own.
  func inOrder() -> [[Int]] {
    var result: [[Int]] = []
    var isDone = Set<Int>()
    func visit(_ id: Int) {
      guard isDone.insert(id).inserted else { return }
      for index in members[id] {
        for operand in graph.nodes[index].operands {
          if let producer = producers[operand.value.index], group[producer] != id {
            visit(group[producer])
          }
        }
      }
      result.append(members[id])
    }
    for index in graph.nodes.indices { visit(group[index]) }
    return result
  }
}
