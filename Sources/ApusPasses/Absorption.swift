// What passes share that let one node do the work of two.

import ApusGraph

extension Node {
  /// The node that `op` makes of this one and of `other`, whose work it does too: it comes from where both
  /// come from, `other` first.
  func absorbing(_ other: Node, as op: any Op, operands: [Operand], results: [ValueID]? = nil)
    -> Node
  {
    Node(
      op: op, operands: operands, results: results ?? self.results,
      origins: other.origins + origins.filter { !other.origins.contains($0) },
      recomputation: recomputation)
  }
}

extension Graph {
  /// Takes nodes out whose work others do now.
  ///
  /// - Returns: how many, as a pass reports it.
  mutating func remove(absorbed nodes: Set<Int>) -> Statistics {
    guard !nodes.isEmpty else { return [:] }
    self.nodes = self.nodes.enumerated().filter { !nodes.contains($0.offset) }.map(\.element)
    self = compacted()
    return ["fused": nodes.count]
  }
}
