// RMSProp: gradients over the root of their mean square.

import ApusGraph
import ApusOps

/// RMSProp, as PyTorch's `RMSprop`: Tieleman & Hinton 2012; centred as in Graves 2013, "Generating Sequences With
/// Recurrent Neural Networks".
///
///     g ← ∇ + λ·p
///     v ← α·v + (1-α)·g²
///     m ← α·m + (1-α)·g                  (centred: the step divides by √(v - m²))
///     b ← μ·b + g / (√v + ε)             (momentum)
///     p ← p - η·b                        (or p - η·g / (√v + ε) without)
///
/// Where rounding makes v - m² less than 0 it is 0; PyTorch's root is NaN.
public struct RMSProp: DecayingOptimizer {
  public var learningRate: Schedule
  public var alpha: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule
  public var momentum: Schedule
  public var isCentered: Bool

  public init(
    learningRate: Schedule = 1e-2, alpha: Schedule = 0.99, epsilon: Double = 1e-8,
    weightDecay: Schedule = 0, momentum: Schedule = 0, centered: Bool = false
  ) {
    self.learningRate = learningRate
    self.alpha = alpha
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.momentum = momentum
    isCentered = centered
  }

  public var rule: String {
    "RMSProp(alpha: \(alpha), epsilon: \(epsilon), weightDecay: \(weightDecay), "
      + "momentum: \(momentum), centered: \(isCentered))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let rate = state.rate(learningRate)
    if let alpha = alpha.constant, let penalty = weightDecay.constant, momentum.isZero, !isCentered
    {
      let new = rmsStep(
        p, gradient, squares: state["second_moment"], rate: rate, alpha: alpha, epsilon: epsilon,
        weightDecay: penalty)
      state["second_moment"] = new.squares
      return new.parameter
    }
    let g = state.penalized(gradient, p, by: weightDecay)
    var v = state.mean("second_moment", of: g * g, alpha, named: "alpha")
    if isCentered {
      let m = state.mean("first_moment", of: g, alpha, named: "alpha")
      v = maximum(v - m * m, 0)
    }
    let change = g / (sqrt(v) + epsilon)
    guard !momentum.isZero else { return p - change * rate }
    let b = state["momentum"] * state.setting("momentum", momentum, like: p) + change
    state["momentum"] = b
    return p - b * rate
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "RMSProp")
    try require("alpha", alpha, in: 0..<1, of: "RMSProp")
    try require("momentum", momentum, in: 0..<1, of: "RMSProp")
    try require(epsilon: epsilon, weightDecay: weightDecay, of: "RMSProp")
  }
}
