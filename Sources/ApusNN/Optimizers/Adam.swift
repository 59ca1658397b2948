// Adam and AdamW, with AMSGrad as their option.

import ApusGraph
import ApusOps
import Foundation

/// Adam, as PyTorch's `Adam`: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization".
///
///     m ← β₁·m + (1-β₁)·g
///     v ← β₂·v + (1-β₂)·g²
///     p ← p - η/(1-β₁ᵗ) · m / (√(v/(1-β₂ᵗ)) + ε)
///
/// `weightDecay` adds λ·p to the gradient; see `AdamW` for the decoupled form. With `amsgrad` the step divides by
/// the greatest v so far (Reddi, Kale & Kumar 2018, "On the convergence of Adam and beyond").
///
/// A lazy Adam, PyTorch's `SparseAdam`, updates only those rows of an embedding that the batch has looked up, with
/// their moments; t counts all steps. It costs what the batch costs and not what the table does, and is another
/// rule: moments of rows that are not looked up do not fade.
///
///     Adam(learningRate: 1e-3, lazy: true)
public struct Adam: DecayingOptimizer {
  public var learningRate: Schedule
  public var beta1: Schedule
  public var beta2: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule
  public var amsgrad: Bool
  /// Whether rows of a table that a step has not looked up are left alone.
  public var isLazy: Bool

  public init(
    learningRate: Schedule = 1e-3, beta1: Schedule = 0.9, beta2: Schedule = 0.999,
    epsilon: Double = 1e-8, weightDecay: Schedule = 0, amsgrad: Bool = false, lazy: Bool = false
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.amsgrad = amsgrad
    isLazy = lazy
  }

  public var rule: String {
    "Adam(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay)"
      + (amsgrad ? ", amsgrad: true" : "") + (isLazy ? ", lazy: true)" : ")")
  }

  public var rowUpdates: RowUpdates { isLazy ? .always : .never }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    step(p, gradient, &state, shrinksBy: 0)
  }

  /// Adam's step, for a parameter that first shrinks by η times `decay`.
  fileprivate func step(
    _ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState, shrinksBy decay: Schedule
  ) -> Tensor {
    let (beta1, beta2, learningRate) = (beta1, beta2, learningRate)
    // η/(1-β₁ᵗ) and 1/√(1-β₂ᵗ), with t from 1 on.
    let stepSize = state.scalar("step_size") {
      learningRate.value(at: $0.step) / $0.correction(of: beta1)
    }
    let correction = state.scalar("inverse_root_correction") {
      1 / $0.correction(of: beta2).squareRoot()
    }
    if let beta1 = beta1.constant, let beta2 = beta2.constant, !amsgrad,
      let penalty = weightDecay.constant
    {
      let shrinkage =
        decay.isZero
        ? nil
        : state.scalar("shrinkage") {
          1 - learningRate.value(at: $0.step) * decay.value(at: $0.step)
        }
      let new = adamStep(
        p, gradient, firstMoment: state["first_moment"], secondMoment: state["second_moment"],
        stepSize: stepSize, inverseRootCorrection: correction, shrinkage: shrinkage, beta1: beta1,
        beta2: beta2, epsilon: epsilon, weightDecay: penalty)
      state["first_moment"] = new.firstMoment
      state["second_moment"] = new.secondMoment
      return new.parameter
    }
    let g = state.penalized(gradient, p, by: weightDecay)
    let m = state.mean("first_moment", of: g, beta1, named: "beta1")
    var v = state.mean("second_moment", of: g * g, beta2, named: "beta2")
    if amsgrad {
      v = maximum(state["greatest_second_moment"], v)
      state["greatest_second_moment"] = v
    }
    let divisor = sqrt(v) * correction.cast(to: p.dtype) + epsilon
    return state.shrunk(p, by: decay, learningRate) - m * stepSize.cast(to: p.dtype) / divisor
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "Adam")
    try require(
      epsilon: epsilon, weightDecay: weightDecay, beta1: beta1, beta2: beta2, of: "Adam")
  }
}

/// Adam with decoupled weight decay: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization".
///
/// The parameter first shrinks by η·λ, then takes Adam's step, as in PyTorch's `AdamW`.
///
///     AdamW(learningRate: 3e-4, weightDecay: 0.1).decayingMatricesOnly()
public struct AdamW: DecayingOptimizer {
  public var learningRate: Schedule
  public var beta1: Schedule
  public var beta2: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule
  public var amsgrad: Bool

  public init(
    learningRate: Schedule = 1e-3, beta1: Schedule = 0.9, beta2: Schedule = 0.999,
    epsilon: Double = 1e-8, weightDecay: Schedule = 1e-2, amsgrad: Bool = false
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.amsgrad = amsgrad
  }

  public var rule: String {
    "AdamW(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay)"
      + (amsgrad ? ", amsgrad: true)" : ")")
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let adam = Adam(
      learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, amsgrad: amsgrad)
    return adam.step(p, gradient, &state, shrinksBy: weightDecay)
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "AdamW")
    try require(
      epsilon: epsilon, weightDecay: weightDecay, beta1: beta1, beta2: beta2, of: "AdamW")
  }
}

extension UpdateTime {
  /// `1 - βᵗ`, with t from 1 on: what a moving mean that began at 0 lacks.
  func correction(of beta: Schedule) -> Double {
    1 - pow(beta.value(at: step), Double(update + 1))
  }
}
