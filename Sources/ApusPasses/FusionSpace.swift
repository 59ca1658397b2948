// What the nodes of a loop that reduces have in common, for `FusionGroups`.

import ApusGraph
import ApusOps

/// What the nodes of a loop walk over.
struct FusionSpace {
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
      && folded.reduce(1) { Shape.product($0, domain[$1]) } <= Loop.longestKeptRow
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
