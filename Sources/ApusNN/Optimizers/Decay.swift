// Which parameters weight decay is for.

import ApusGraph

/// An optimiser that decays weights.
public protocol DecayingOptimizer: Optimizer {
  /// λ.
  var weightDecay: Schedule { get set }
}

extension DecayingOptimizer {
  /// The same rule, but that biases and the scales of normalisations are not decayed: parameters of fewer
  /// than two axes.
  ///
  ///     Trainer(model, optimizer: AdamW(weightDecay: 0.1).decayingMatricesOnly()) { … }
  public func decayingMatricesOnly() -> some Optimizer { MatrixDecay(self) }
}

/// A rule for matrices, and the same without decay for vectors.
private struct MatrixDecay<Base: DecayingOptimizer>: Optimizer {
  let base: Base
  let undecayed: Base

  init(_ base: Base) {
    self.base = base
    var undecayed = base
    undecayed.weightDecay = 0
    self.undecayed = undecayed
  }

  var rule: String { "\(base.rule), decaying matrices only" }

  /// Tables are matrices.
  var rowUpdates: RowUpdates { base.rowUpdates }

  func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    guard p.rank < 2 else { return base.update(p, gradient, &state) }
    var own = state.part("vectors")
    return undecayed.update(p, gradient, &own)
  }

  func validate() throws { try base.validate() }
}
