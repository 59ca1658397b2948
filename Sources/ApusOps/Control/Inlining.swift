// A graph recorded once more, as part of another.

import ApusGraph

extension Trace {
  /// Records the nodes of `graph` with these tensors for its inputs.
  ///
  /// - Returns: by value of the graph, what stands for it here; nil for a state.
  /// - Throws: `unsupported` where operands are views, which a pass has folded in.
  package func inline(_ graph: Graph, _ inputs: [Tensor]) throws -> [ValueID?] {
    var values = [ValueID?](repeating: nil, count: graph.types.count)
    for (input, tensor) in zip(graph.inputs, inputs) { values[input.value.index] = tensor.value }
    for constant in graph.constants {
      values[constant.value.index] = self.constant(constant.array).value
    }
    for node in graph.nodes {
      let operands = try node.operands.map { operand in
        guard operand.view == nil, let value = values[operand.value.index] else {
          throw ApusError(
            .unsupported, "\(node.op.mnemonic) is recorded again from an optimised graph",
            expected: "a graph as it was recorded")
        }
        return tensor(value)
      }
      let results = withOrigin(node.origins.first) {
        Tensor.applyAll(node.op, to: operands, resultCount: node.results.count)
      }
      try check()
      for (old, new) in zip(node.results, results) { values[old.index] = new.value }
    }
    return values
  }

  /// The recomputation that made a tensor; 0 for what is made once.
  package func recomputation(of tensor: Tensor) -> Int {
    graph.nodes.last { tensor.value.map($0.results.contains) ?? false }?.recomputation ?? 0
  }
}
