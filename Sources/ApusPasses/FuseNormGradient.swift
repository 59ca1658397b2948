// Computes the statistics of a normalisation in its gradient where nobody reads the normalised rows.
//
// Assumes: nothing; finds more where dead nodes are gone.
// Guarantees: no `layer_norm` or `rms_norm` is left of which nothing is read but statistics, each of them
// by one gradient alone. The rows are then read once, not twice, and none are written that nobody reads.
//
//     %2, %3 = rms_norm(%0) {epsilon=1e-06} : f32[8,16], f32[8]
//     %4 = rms_norm_gradient(%1, %0, %3) {parameters=0} : f32[8,16]
//         =>
//     %2 = rms_norm_gradient(%1, %0) {parameters=0, epsilon=1e-06} : f32[8,16]

import ApusGraph
import ApusOps

/// Fuses each normalisation whose result is not needed with its gradient.
package struct FuseNormGradient: Pass {
  package static let name = "fuse-norm-gradient"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let readers = graph.useCounts
    let makers = graph.definingNodes
    var removed = Set<Int>()
    for index in graph.nodes.indices {
      guard let backward = graph.nodes[index].op as? any NormGradientOp, backward.epsilon == nil
      else { continue }
      let node = graph.nodes[index]
      let count = type(of: backward).statistics
      let statistics = node.operands[2..<2 + count]
      guard let first = makers[node.operands[2].value.index] else { continue }
      let forward = graph.nodes[first]
      guard let epsilon = epsilon(of: forward.op, for: backward),
        forward.operands[0] == node.operands[1],
        Array(statistics) == forward.results.dropFirst().map({ Operand($0) }),
        readers[forward.results[0].index] == 0,
        statistics.allSatisfy({ readers[$0.value.index] == 1 })
      else { continue }
      graph.nodes[index] = node.absorbing(
        forward, as: fused(backward, epsilon),
        operands: Array(node.operands[..<2] + node.operands[(2 + count)...]))
      removed.insert(first)
    }
    return graph.remove(absorbed: removed)
  }

  /// What the normalisation adds to the variance; nil where the gradient is not that of such a one.
  private func epsilon(of op: any Op, for gradient: any NormGradientOp) -> Double? {
    switch (op, gradient) {
    case (let op as LayerNorm, is LayerNormGradient): op.epsilon
    case (let op as RMSNorm, is RMSNormGradient): op.epsilon
    default: nil
    }
  }

  private func fused<T: NormGradientOp>(_ gradient: T, _ epsilon: Double) -> any Op {
    T(parameters: gradient.parameters, epsilon: epsilon, result: gradient.result)
  }
}
