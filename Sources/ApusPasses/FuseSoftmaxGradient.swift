// Computes the probabilities of a softmax in its gradient where nobody else reads them.
//
// Assumes: nothing; finds more where dead nodes are gone.
// Guarantees: no `softmax` is left that one `softmax_gradient` alone reads, as its first operand, unless
// its rows are too long for that. Three arrays then go through memory instead of five.
//
//     %2 = softmax(%0) {axis=1} : f32[8,16]
//     %3 = softmax_gradient(%2, %1) {axis=1} : f32[8,16]
//         =>
//     %2 = softmax_gradient(%0, %1) {axis=1, ofLogits=true} : f32[8,16]

import ApusGraph
import ApusOps

/// Fuses each softmax whose result is not needed otherwise with its gradient.
package struct FuseSoftmaxGradient: Pass {
  package static let name = "fuse-softmax-gradient"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let readers = graph.useCounts
    let makers = graph.definingNodes
    var removed = Set<Int>()
    for index in graph.nodes.indices {
      guard let backward = graph.nodes[index].op as? SoftmaxGradient, !backward.ofLogits else {
        continue
      }
      let node = graph.nodes[index]
      guard node.operands[0].view == nil, readers[node.operands[0].value.index] == 1,
        let first = makers[node.operands[0].value.index],
        let forward = graph.nodes[first].op as? Softmax,
        forward.axis == backward.axis, forward.result == nil, backward.result == nil,
        graph.type(of: node.operands[0]).shape[forward.axis] <= SoftmaxGradient.longestRowOfLogits
      else { continue }
      let softmax = graph.nodes[first]
      graph.nodes[index] = node.absorbing(
        softmax, as: SoftmaxGradient(axis: backward.axis, ofLogits: true),
        operands: [softmax.operands[0], node.operands[1]])
      removed.insert(first)
    }
    return graph.remove(absorbed: removed)
  }
}
