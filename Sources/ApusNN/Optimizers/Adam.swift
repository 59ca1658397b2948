// Adam and AdamW.

import ApusGraph
import ApusOps
import Foundation

/// Adam, as PyTorch's `Adam`: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization".
///
///     m ← β₁·m + (1-β₁)·g
///     v ← β₂·v + (1-β₂)·g²
///     p ← p - η/(1-β₁ᵗ) · m / (√(v/(1-β₂ᵗ)) + ε)
///
/// `weightDecay` adds λ·p to the gradient; see `AdamW` for the decoupled form.
public struct Adam: Optimizer, Hashable {
  public var learningRate: LearningRate
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  public var weightDecay: Double

  public init(
    learningRate: LearningRate = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 0
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  public var slots: [String] { ["first_moment", "second_moment"] }
  public var scalarNames: [String] { ["step_size", "inverse_root_correction"] }

  /// η/(1-β₁ᵗ) and 1/√(1-β₂ᵗ), with t from 1 on.
  public func scalars(at step: Int) -> [Double] {
    let t = Double(step + 1)
    return [
      learningRate.value(at: step) / (1 - pow(beta1, t)), 1 / (1 - pow(beta2, t)).squareRoot(),
    ]
  }

  public func update(
    _ parameter: Tensor, gradient: Tensor, slots: [Tensor], scalars: [Tensor]
  ) -> (parameter: Tensor, slots: [Tensor]) {
    let g = weightDecay == 0 ? gradient : gradient + parameter * weightDecay
    return adamStep(
      parameter, g, slots, scalars, beta1: beta1, beta2: beta2, epsilon: epsilon)
  }

  public func validate() throws {
    try require(learningRate, of: "Adam")
    try validateAdam(beta1, beta2, epsilon, weightDecay, of: "Adam")
  }
}

/// Adam with decoupled weight decay: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization".
///
/// The parameter first shrinks by η·λ, then takes Adam's step, as in PyTorch's `AdamW`.
public struct AdamW: Optimizer, Hashable {
  public var learningRate: LearningRate
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  public var weightDecay: Double

  public init(
    learningRate: LearningRate = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 1e-2
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  public var slots: [String] { ["first_moment", "second_moment"] }
  public var scalarNames: [String] { ["step_size", "inverse_root_correction", "shrinkage"] }

  /// Adam's two scalars and 1 - η·λ.
  public func scalars(at step: Int) -> [Double] {
    let adam = Adam(learningRate: learningRate, beta1: beta1, beta2: beta2)
    return adam.scalars(at: step) + [1 - learningRate.value(at: step) * weightDecay]
  }

  public func update(
    _ parameter: Tensor, gradient: Tensor, slots: [Tensor], scalars: [Tensor]
  ) -> (parameter: Tensor, slots: [Tensor]) {
    adamStep(
      parameter * scalars[2], gradient, slots, scalars, beta1: beta1, beta2: beta2,
      epsilon: epsilon)
  }

  public func validate() throws {
    try require(learningRate, of: "AdamW")
    try validateAdam(beta1, beta2, epsilon, weightDecay, of: "AdamW")
  }
}

private func adamStep(
  _ parameter: Tensor, _ g: Tensor, _ slots: [Tensor], _ scalars: [Tensor], beta1: Double,
  beta2: Double, epsilon: Double
) -> (parameter: Tensor, slots: [Tensor]) {
  let m = slots[0] * beta1 + g * (1 - beta1)
  let v = slots[1] * beta2 + g * g * (1 - beta2)
  let denominator = sqrt(v) * scalars[1] + epsilon
  return (parameter - m * scalars[0] / denominator, [m, v])
}

private func validateAdam(
  _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ weightDecay: Double, of type: String
) throws {
  try require("beta1", beta1, in: 0..<1, of: type)
  try require("beta2", beta2, in: 0..<1, of: type)
  try require("epsilon", epsilon, in: 0..<Double.infinity, of: type)
  try require("weightDecay", weightDecay, in: 0..<Double.infinity, of: type)
}
