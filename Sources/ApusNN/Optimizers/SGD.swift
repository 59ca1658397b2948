// Stochastic gradient descent.

import ApusGraph
import ApusOps

/// Stochastic gradient descent with momentum, as PyTorch's `SGD`.
///
///     g ← ∇ + λ·p        (weight decay)
///     v ← μ·v + g        (momentum)
///     p ← p - η·v        (or p - η·(g + μ·v) with Nesterov's momentum)
///
/// Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
public struct SGD: Optimizer {
  public var learningRate: LearningRate
  public var momentum: Double
  public var isNesterov: Bool
  public var weightDecay: Double

  public init(
    learningRate: LearningRate, momentum: Double = 0, nesterov: Bool = false,
    weightDecay: Double = 0
  ) {
    self.learningRate = learningRate
    self.momentum = momentum
    isNesterov = nesterov
    self.weightDecay = weightDecay
  }

  public var rule: String {
    "SGD(momentum: \(momentum), nesterov: \(isNesterov), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let learningRate = learningRate
    let rate = state.scalar("rate") { learningRate.value(at: $0.step) }
    guard momentum != 0 else {
      return p - (weightDecay == 0 ? gradient : gradient + p * weightDecay) * rate
    }
    let new = momentumStep(
      p, gradient, velocity: state["momentum"], rate: rate, momentum: momentum,
      nesterov: isNesterov, weightDecay: weightDecay)
    state["momentum"] = new.velocity
    return new.parameter
  }

  public func validate() throws {
    try require(learningRate, of: "SGD")
    try require("momentum", momentum, in: 0..<1, of: "SGD")
    try require("weightDecay", weightDecay, in: 0..<Double.infinity, of: "SGD")
    if isNesterov && momentum == 0 {
      throw ApusError(
        .invalidArgument, "SGD: Nesterov's momentum without momentum", expected: "momentum > 0")
    }
  }
}
