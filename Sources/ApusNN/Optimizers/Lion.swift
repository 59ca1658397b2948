// Lion: the sign of a mean of gradients.

import ApusGraph
import ApusOps

/// Lion, as optax's: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms". One slot, and steps of one
/// size in all elements; rates are about a tenth of Adam's.
///
///     p ← p - η (sign(β₁·m + (1-β₁)·g) + λ·p)
///     m ← β₂·m + (1-β₂)·g
public struct Lion: DecayingOptimizer {
  public var learningRate: Schedule
  public var beta1: Schedule
  public var beta2: Schedule
  public var weightDecay: Schedule

  public init(
    learningRate: Schedule = 1e-4, beta1: Schedule = 0.9, beta2: Schedule = 0.99,
    weightDecay: Schedule = 1e-3
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.weightDecay = weightDecay
  }

  public var rule: String {
    "Lion(beta1: \(beta1), beta2: \(beta2), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
    if let beta1 = beta1.constant, let beta2 = beta2.constant {
      let new = lionStep(
        p, g, momentum: state["momentum"], rate: state.rate(learningRate),
        shrinkage: state.shrinkage(by: weightDecay, learningRate), beta1: beta1, beta2: beta2)
      state["momentum"] = new.momentum
      return new.parameter
    }
    // β·m + (1-β)·g as g + β·(m - g): what both means share makes them one loop.
    let difference = state["momentum"] - g
    let direction = sign(g + difference * state.setting("beta1", beta1, like: p))
    state["momentum"] = g + difference * state.setting("beta2", beta2, like: p)
    return state.shrunk(p, by: weightDecay, learningRate) - direction * state.rate(learningRate)
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "Lion")
    try require(epsilon: 0, weightDecay: weightDecay, beta1: beta1, beta2: beta2, of: "Lion")
  }
}
