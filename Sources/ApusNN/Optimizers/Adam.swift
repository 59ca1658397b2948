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
public struct Adam: Optimizer {
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

  public var rule: String {
    "Adam(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    step(p, gradient, &state)
  }

  /// Adam's step, for a parameter that first shrinks where `shrinkage` is given.
  fileprivate func step(
    _ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState, shrinkage: Tensor? = nil
  ) -> Tensor {
    let (beta1, beta2, learningRate) = (beta1, beta2, learningRate)
    // η/(1-β₁ᵗ) and 1/√(1-β₂ᵗ), with t from 1 on.
    let stepSize = state.scalar("step_size") {
      learningRate.value(at: $0.step) / (1 - pow(beta1, Double($0.update + 1)))
    }
    let correction = state.scalar("inverse_root_correction") {
      1 / (1 - pow(beta2, Double($0.update + 1))).squareRoot()
    }
    let new = adamStep(
      p, gradient, firstMoment: state["first_moment"], secondMoment: state["second_moment"],
      stepSize: stepSize, inverseRootCorrection: correction, shrinkage: shrinkage, beta1: beta1,
      beta2: beta2, epsilon: epsilon, weightDecay: weightDecay)
    state["first_moment"] = new.firstMoment
    state["second_moment"] = new.secondMoment
    return new.parameter
  }

  public func validate() throws {
    try require(learningRate, of: "Adam")
    try validateAdam(beta1, beta2, epsilon, weightDecay, of: "Adam")
  }
}

/// Adam with decoupled weight decay: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization".
///
/// The parameter first shrinks by η·λ, then takes Adam's step, as in PyTorch's `AdamW`.
public struct AdamW: Optimizer {
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

  public var rule: String {
    "AdamW(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let (learningRate, weightDecay) = (learningRate, weightDecay)
    let shrinkage = state.scalar("shrinkage") { 1 - learningRate.value(at: $0.step) * weightDecay }
    let adam = Adam(learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon)
    return adam.step(p, gradient, &state, shrinkage: shrinkage)
  }

  public func validate() throws {
    try require(learningRate, of: "AdamW")
    try validateAdam(beta1, beta2, epsilon, weightDecay, of: "AdamW")
  }
}

private func validateAdam(
  _ beta1: Double, _ beta2: Double, _ epsilon: Double, _ weightDecay: Double, of type: String
) throws {
  try require("beta1", beta1, in: 0..<1, of: type)
  try require("beta2", beta2, in: 0..<1, of: type)
  try require("epsilon", epsilon, in: 0..<Double.infinity, of: type)
  try require("weightDecay", weightDecay, in: 0..<Double.infinity, of: type)
}
