// Ops that hold graphs: a loop's body is a graph of its own, which its op runs.

/// An op that runs graphs of its own, its *regions*.
///
/// A region has inputs and outputs, and constants, but no states and no assignments: all that it reads comes in
/// through the op's operands, all that it makes goes out through the op's results. So a node with regions is a
/// value like any other, and whoever knows nothing of regions need not look inside. Who does (the verifier,
/// the passes, dumps, the planner) goes through ``regions``.
package protocol RegionOp: Op {
  /// The graphs, in a fixed order.
  var regions: [Graph] { get }
  /// The same op around other graphs of the same inputs and output types.
  func replacingRegions(_ regions: [Graph]) -> Self
}

extension Graph: Hashable {
  /// Of what ``==(_:_:)`` compares, the parts that tell most graphs apart.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(types)
    for node in nodes {
      hasher.combine(ObjectIdentifier(Swift.type(of: node.op)))
      hasher.combine(node.operands)
    }
  }

  /// Whether the graphs compute the same in the same way, whatever lines of a model they come from.
  package func isSame(as other: Graph) -> Bool {
    hasSameStorage(as: other) || withoutOrigins == other.withoutOrigins
  }

  /// The same graph, of which nobody knows where it comes from.
  private var withoutOrigins: Graph {
    var copy = self
    for index in copy.nodes.indices { copy.nodes[index].origins = [] }
    return copy
  }

  /// Checks that a graph can be a region.
  ///
  /// - Throws: `invalidGraph` where it has states, assignments or outputs that are watched, or breaks a rule
  ///   of ``verify()``.
  package func verifyRegion() throws {
    if let state = states.first {
      throw ApusError(
        .invalidGraph, "a region has the state '\(state.name)'",
        expected: "inputs and constants only")
    }
    if let output = outputs.first(where: \.isRequired) {
      throw ApusError(
        .invalidGraph, "a region's output '\(output.name)' is to be finite",
        expected: "such outputs in the outermost graph only")
    }
    try verify()
  }
}
