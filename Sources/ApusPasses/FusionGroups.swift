// Which nodes become one loop: the search behind `FuseElementwise`.

import ApusGraph
import ApusOps

/// The partition of a graph's nodes into loops and single nodes, grown by merging neighbours.
///
/// Nodes are taken in order, so a group that is looked at ends with the node at hand at the latest; what
/// stands behind it is still alone.
struct FusionGroups {
  private let graph: Graph
  private let producers: [Int?]
  /// By node: those that read its results, in order.
  private let consumers: [[Int]]
  private var group: [Int]
  /// The nodes of each group in order; empty where the group was merged into another.
  private(set) var members: [[Int]]
  private let isFusable: [Bool]
  /// By group without a reduction: what is known of it as a whole.
  private var plain: [PlainGroup?]
  /// By group: the search for a detour that saw it last.
  private var seen: [Int]
  private var searches = 0

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
    consumers = graph.nodes.map { node in
      node.results.count == 1
        ? readers[node.results[0].index] : node.results.flatMap { readers[$0.index] }.sorted()
    }
    group = Array(graph.nodes.indices)
    members = graph.nodes.indices.map { [$0] }
    seen = Array(repeating: 0, count: graph.nodes.count)
    var fusable: [Bool] = []
    plain = graph.nodes.map { node in
      let isElementwise = node.op is any ElementwiseOp
      fusable.append(
        node.results.count == 1 && (isElementwise || node.op is any ReductionOp)
          && Loop.supports(node.op, node.operands.map { graph.type(of: $0) }))
      return isElementwise && fusable.last! ? PlainGroup(node, graph) : nil
    }
    isFusable = fusable
  }

  /// The shape that a node walks over.
  static func domain(_ node: Node, _ graph: Graph) -> Shape {
    node.op is any ReductionOp
      ? graph.type(of: node.operands[0]).shape : graph.type(of: node.results[0]).shape
  }

  /// Tries to join every fusable node with the groups that make its operands, in order.
  mutating func merge() {
    for index in graph.nodes.indices where isFusable[index] {
      for operand in graph.nodes[index].operands {
        guard let producer = producers[operand.value.index], isFusable[producer],
          group[producer] != group[index], canMerge(group[producer], group[index])
        else { continue }
        join(group[producer], group[index])
      }
    }
  }

  private mutating func canMerge(_ a: Int, _ b: Int) -> Bool {
    guard members[a].count + members[b].count <= Self.maximumInstructions,
      graph.nodes[members[a][0]].recomputation == graph.nodes[members[b][0]].recomputation
    else { return false }
    if let first = plain[a], let second = plain[b] {
      return first.domain == second.domain
        && operands(first, second, a, b).map { $0.count <= Self.maximumOperands } ?? false
        && !hasDetour(from: a, to: b)
    }
    return canReduce(members[a] + members[b]) && !hasDetour(from: a, to: b)
  }

  /// What two groups without reductions read from outside both; nil where one reads a value of the other
  /// through a view: it would have to be stored first.
  private func operands(_ first: PlainGroup, _ second: PlainGroup, _ a: Int, _ b: Int)
    -> [Operand]?
  {
    var all: [Operand] = []
    for operand in first.operands + second.operands {
      if let producer = producers[operand.value.index], group[producer] == a || group[producer] == b
      {
        if operand.view != nil { return nil }
      } else if !all.contains(operand) {
        all.append(operand)
      }
    }
    return all
  }

  /// Whether nodes of which some reduce may be one loop.
  private func canReduce(_ nodes: [Int]) -> Bool {
    guard let space = FusionSpace(nodes, graph) else { return false }
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
    return operands.count <= Self.maximumOperands
  }

  /// Groups that a search for a detour looks at before it takes one for granted, so that merging stays
  /// linear: what lies that far apart, as forward and backward of a layer do, has one.
  private static let detourLimit = 512

  /// Whether something outside both groups depends on `a` and is needed by `b`: joined, they would
  /// depend on themselves.
  private mutating func hasDetour(from a: Int, to b: Int) -> Bool {
    let last = members[b].last!
    searches += 1
    var count = 0
    var stack = [a]
    while let current = stack.popLast() {
      if count > Self.detourLimit { return true }
      for index in members[current] {
        for consumer in consumers[index] {
          // What starts after `b` has ended cannot lead back to it: so all the rest, each still alone.
          if consumer > last { break }
          let next = group[consumer]
          if next == a || next == b {
            if current != a { return true }
            continue
          }
          guard seen[next] != searches, members[next][0] < last else { continue }
          seen[next] = searches
          count += 1
          stack.append(next)
        }
      }
    }
    return false
  }

  private mutating func join(_ a: Int, _ b: Int) {
    if let first = plain[a], let second = plain[b], let all = operands(first, second, a, b) {
      plain[a] = PlainGroup(domain: first.domain, operands: all)
    } else {
      plain[a] = nil
    }
    members[a] = (members[a] + members[b]).sorted()
    for index in members[b] { group[index] = a }
    members[b] = []
    plain[b] = nil
  }

  /// The groups in an order in which they can run, close to the nodes' own.
  func inOrder() -> [[Int]] {
    var result: [[Int]] = []
    var isOpen = [Bool](repeating: false, count: members.count)
    // Not by recursion: a group may wait for a chain of any length.
    var stack: [(group: Int, sources: [Int], next: Int)] = []
    func open(_ id: Int) {
      guard !isOpen[id] else { return }
      isOpen[id] = true
      var sources: [Int] = []
      for index in members[id] {
        for operand in graph.nodes[index].operands {
          if let producer = producers[operand.value.index], group[producer] != id {
            sources.append(group[producer])
          }
        }
      }
      stack.append((id, sources, 0))
    }
    for index in graph.nodes.indices {
      open(group[index])
      while let top = stack.last {
        if top.next < top.sources.count {
          stack[stack.count - 1].next += 1
          open(top.sources[top.next])
        } else {
          result.append(members[top.group])
          stack.removeLast()
        }
      }
    }
    return result
  }
}

/// A group of elementwise nodes: all walk over one domain, and their operands broadcast to it.
private struct PlainGroup {
  let domain: Shape
  /// What is read from outside, each once: few.
  let operands: [Operand]

  init(domain: Shape, operands: [Operand]) {
    self.domain = domain
    self.operands = operands
  }

  init(_ node: Node, _ graph: Graph) {
    domain = graph.type(of: node.results[0]).shape
    operands = node.operands.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
