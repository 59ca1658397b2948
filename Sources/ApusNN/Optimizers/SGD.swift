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
public struct SGD: Optimizer, Hashable {
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

  public var slots: [String] { momentum == 0 ? [] : ["momentum"] }
  public var scalarNames: [String] { ["learning_rate"] }
  public func scalars(at step: Int) -> [Double] { [learningRate.value(at: step)] }

  public func update(
    _ parameter: Tensor, gradient: Tensor, slots: [Tensor], scalars: [Tensor]
  ) -> (parameter: Tensor, slots: [Tensor]) {
    let rate = scalars[0]
    let g = weightDecay == 0 ? gradient : gradient + parameter * weightDecay
    guard momentum != 0 else { return (parameter - g * rate, []) }
    let velocity = slots[0] * momentum + g
    let direction = isNesterov ? g + velocity * momentum : velocity
    return (parameter - direction * rate, [velocity])
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
