// Adagrad and Adadelta: steps divided by the gradients so far.

import ApusGraph
import ApusOps

/// Adagrad, as PyTorch's: Duchi, Hazan & Singer 2011, "Adaptive Subgradient Methods".
///
///     g ← ∇ + λ·p
///     s ← s + g²
///     p ← p - η/(1 + t·γ) · g / (√s + ε),   t from 0 on
public struct Adagrad: DecayingOptimizer {
  public var learningRate: Schedule
  /// γ, by which the rate falls: PyTorch's `lr_decay`.
  public var rateDecay: Double
  public var weightDecay: Schedule
  /// s before the first step.
  public var initialAccumulator: Double
  public var epsilon: Double

  public init(
    learningRate: Schedule = 1e-2, rateDecay: Double = 0, weightDecay: Schedule = 0,
    initialAccumulator: Double = 0, epsilon: Double = 1e-10
  ) {
    self.learningRate = learningRate
    self.rateDecay = rateDecay
    self.weightDecay = weightDecay
    self.initialAccumulator = initialAccumulator
    self.epsilon = epsilon
  }

  public var rule: String {
    "Adagrad(rateDecay: \(rateDecay), weightDecay: \(weightDecay), "
      + "initialAccumulator: \(initialAccumulator), epsilon: \(epsilon))"
  }

  /// Exact without decay: 0/(√s + ε) is 0.
  public var rowUpdates: RowUpdates {
    weightDecay.isZero && (epsilon > 0 || initialAccumulator > 0) ? .exact : .never
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let (rate, decay) = (learningRate, rateDecay)
    let stepSize = state.number("step_size") {
      rate.value(at: $0.step) / (1 + Double($0.update) * decay)
    }
    if let penalty = weightDecay.constant {
      let new = rmsStep(
        p, gradient, squares: state.slot("sum", initial: initialAccumulator), rate: stepSize,
        alpha: nil, epsilon: epsilon, weightDecay: penalty)
      state["sum"] = new.squares
      return new.parameter
    }
    let g = state.penalized(gradient, p, by: weightDecay)
    let sum = state.slot("sum", initial: initialAccumulator) + g * g
    state["sum"] = sum
    return p - g * stepSize / (sqrt(sum) + epsilon)
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "Adagrad")
    try require("rateDecay", rateDecay, in: 0..<Double.infinity, of: "Adagrad")
    try require("initialAccumulator", initialAccumulator, in: 0..<Double.infinity, of: "Adagrad")
    try require(epsilon: epsilon, weightDecay: weightDecay, of: "Adagrad")
  }
}

/// Adadelta, as PyTorch's: Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method".
///
///     g ← ∇ + λ·p
///     v ← ρ·v + (1-ρ)·g²
///     d ← √(u + ε) / √(v + ε) · g
///     u ← ρ·u + (1-ρ)·d²
///     p ← p - η·d
public struct Adadelta: DecayingOptimizer {
  public var learningRate: Schedule
  public var rho: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule

  public init(
    learningRate: Schedule = 1, rho: Schedule = 0.9, epsilon: Double = 1e-6,
    weightDecay: Schedule = 0
  ) {
    self.learningRate = learningRate
    self.rho = rho
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  public var rule: String {
    "Adadelta(rho: \(rho), epsilon: \(epsilon), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let g = state.penalized(gradient, p, by: weightDecay)
    let v = state.mean("second_moment", of: g * g, rho, named: "rho")
    let change = sqrt(state["change"] + epsilon) / sqrt(v + epsilon) * g
    _ = state.mean("change", of: change * change, rho, named: "rho")
    return p - change * state.rate(learningRate)
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "Adadelta")
    try require("rho", rho, in: 0..<1, of: "Adadelta")
    try require(epsilon: epsilon, weightDecay: weightDecay, of: "Adadelta")
  }
}
