// LAMB: Adam's direction, with steps as long as the parameter.

import ApusGraph
import ApusOps

/// LAMB, for large batches, as optax's `lamb`: You et al. 2020, "Large Batch Optimization for Deep Learning:
/// Training BERT in 76 minutes". Adam's step, its length that of the parameter times the rate.
///
///     m ← β₁·m + (1-β₁)·g
///     v ← β₂·v + (1-β₂)·g²
///     u = m/(1-β₁ᵗ) / (√(v/(1-β₂ᵗ)) + ε) + λ·p
///     p ← p - η ‖p‖/‖u‖ · u,   or p - η·u where a norm is 0
///
/// The lengths have to be known before anything moves, so that a step is two passes over the parameter.
public struct LAMB: DecayingOptimizer {
  public var learningRate: Schedule
  public var beta1: Schedule
  public var beta2: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule

  public init(
    learningRate: Schedule = 1e-3, beta1: Schedule = 0.9, beta2: Schedule = 0.999,
    epsilon: Double = 1e-6, weightDecay: Schedule = 0
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  public var rule: String {
    "LAMB(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
    let (beta1, beta2) = (beta1, beta2)
    let m = state.mean("first_moment", of: g, beta1, named: "beta1")
    let v = state.mean("second_moment", of: g * g, beta2, named: "beta2")
    let size = state.number("inverse_correction") { 1 / $0.correction(of: beta1) }
    let correction = state.number("inverse_root_correction") {
      1 / $0.correction(of: beta2).squareRoot()
    }
    var u = m * size / (sqrt(v) * correction + epsilon)
    if !weightDecay.isZero { u = u + p * state.setting("weight_decay", weightDecay, like: p) }
    // Steps are about as long as √n, so that their squares need no care, and are added up where they are made.
    let (length, reach) = (p.norm(), sqrt(square(u).sum()))
    let isZero = (length .== 0) .| (reach .== 0)
    let ratio = `where`(isZero, 1, length / `where`(isZero, 1, reach))
    return p - u * (ratio * state.rate(learningRate))
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "LAMB")
    try require(
      epsilon: epsilon, weightDecay: weightDecay, beta1: beta1, beta2: beta2, of: "LAMB")
  }
}
