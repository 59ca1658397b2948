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
      origins: (other.origins + origins).unique(),
      recomputation: recomputation)
  }
}

extension Graph {
  /// By value: whether an output or an assignment reads it.
  var escaping: [Bool] {
    var result = [Bool](repeating: false, count: types.count)
    for output in outputs { result[output.operand.value.index] = true }
    for assignment in assignments { result[assignment.operand.value.index] = true }
    return result
  }

  /// Takes nodes out whose work others do now.
  ///
  /// - Returns: how many, as a pass reports it.
  mutating func remove(absorbed nodes: Set<Int>) -> Statistics {
    guard !nodes.isEmpty else { return [:] }
    self.nodes = self.nodes.enumerated().filter { !nodes.contains($0.offset) }.map(\.element)
    compact()
    return ["fused": nodes.count]
  }
}

extension [Origin] {
  /// Each place once, where it stands first. A node that does the work of thousands has thousands of them.
  func unique() -> [Origin] {
    if count < 2 { return self }
    if count <= 8 {
      return reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
    var seen = Set<Origin>(minimumCapacity: count)
    return filter { seen.insert($0).inserted }
  }
}
