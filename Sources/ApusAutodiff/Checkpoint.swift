// Trading time for memory: activations that are computed twice instead of kept.

import ApusGraph

/// Records `body` so that the backward pass recomputes its intermediate values instead of keeping them
/// (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
///
///     let y = checkpoint(x) { block($0) }
///
/// The result and its gradients are the same bits as without it.
public func checkpoint(_ x: Tensor, _ body: (Tensor) throws -> Tensor) rethrows -> Tensor {
  try x.trace.withCheckpoint { try body(x) }
}
