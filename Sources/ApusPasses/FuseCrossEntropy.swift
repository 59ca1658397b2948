// Computes a cross-entropy and its gradient in one pass over the logits.
//
// Assumes: nothing; finds more where the gradient of the loss has been folded to a constant.
// Guarantees: no `cross_entropy` is left whose only `cross_entropy_gradient` has the same rule, target and
// weights and could have run in its place. The logits are then dead after it, so that their gradient may
// take their memory.
//
//     %3, %4 = cross_entropy(%0, %1) {…} : f32[], f32[8]
//     %5 = cross_entropy_gradient(%0, %4, %2, %1) {…} : f32[8,10]
//         =>
//     %3, %4 = cross_entropy_with_gradient(%0, %2, %1) {…} : f32[], f32[8,10]

import ApusGraph
import ApusOps

/// Fuses each cross-entropy with its gradient.
package struct FuseCrossEntropy: Pass {
  package static let name = "fuse-cross-entropy"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let readers = graph.useCounts
    let makers = graph.definingNodes
    var removed = Set<Int>()
    for index in graph.nodes.indices {
      guard let backward = graph.nodes[index].op as? CrossEntropyGradient else { continue }
      let node = graph.nodes[index]
      let logSum = node.operands[1], upstream = node.operands[2]
      guard let first = makers[logSum.value.index], logSum.view == nil,
        readers[logSum.value.index] == 1,
        let forward = graph.nodes[first].op as? CrossEntropy, forward.rule == backward.rule,
        graph.nodes[first].results[1] == logSum.value,
        graph.nodes[first].recomputation == node.recomputation,
        graph.nodes[first].operands == [node.operands[0]] + node.operands[3...],
        (makers[upstream.value.index] ?? -1) < first
      else { continue }
      let both = node.absorbing(
        graph.nodes[first], as: CrossEntropyWithGradient(backward.rule),
        operands: [node.operands[0], upstream] + node.operands[3...],
        results: [graph.nodes[first].results[0], node.results[0]])
      graph.nodes[first] = both
      removed.insert(index)
    }
    return graph.remove(absorbed: removed)
  }
}
