// Adam's relatives: Adamax, NAdam, RAdam.

import ApusGraph
import ApusOps
import Foundation
import Synchronization

/// Adamax, Adam with the infinity norm, as PyTorch's: Kingma & Ba 2015, section 7.1.
///
///     g ← ∇ + λ·p
///     m ← β₁·m + (1-β₁)·g
///     u ← max(β₂·u, |g| + ε)
///     p ← p - η/(1-β₁ᵗ) · m / u
public struct Adamax: DecayingOptimizer {
  public var learningRate: Schedule
  public var beta1: Schedule
  public var beta2: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule

  public init(
    learningRate: Schedule = 2e-3, beta1: Schedule = 0.9, beta2: Schedule = 0.999,
    epsilon: Double = 1e-8, weightDecay: Schedule = 0
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  public var rule: String {
    "Adamax(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let (rate, beta1) = (learningRate, beta1)
    let g = state.penalized(gradient, p, by: weightDecay)
    let m = state.mean("first_moment", of: g, beta1, named: "beta1")
    let kept = state["norm"] * state.setting("beta2", beta2, like: p)
    let norm = maximum(kept, abs(g) + epsilon)
    state["norm"] = norm
    let stepSize = state.number("step_size") {
      rate.value(at: $0.step) / $0.correction(of: beta1)
    }
    return p - m * stepSize / norm
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "Adamax")
    try require(
      epsilon: epsilon, weightDecay: weightDecay, beta1: beta1, beta2: beta2, of: "Adamax")
  }
}

/// Adam with Nesterov's momentum, as PyTorch's `NAdam`: Dozat 2016, "Incorporating Nesterov Momentum into Adam".
///
///     g ← ∇ + λ·p               (or p ← p - ηλ·p first, where the decay is decoupled)
///     m ← β₁·m + (1-β₁)·g
///     v ← β₂·v + (1-β₂)·g²
///     μᵗ = β₁ (1 - 0.96^(tψ) / 2),   Πᵗ = μ¹ … μᵗ
///     p ← p - η ((1-μᵗ)/(1-Πᵗ) · g + μᵗ⁺¹/(1-Πᵗ⁺¹) · m) / (√(v/(1-β₂ᵗ)) + ε)
public struct NAdam: DecayingOptimizer {
  public var learningRate: Schedule
  public var beta1: Schedule
  public var beta2: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule
  /// ψ.
  public var momentumDecay: Double
  /// Whether the parameter shrinks by ηλ instead.
  public var isDecayDecoupled: Bool

  public init(
    learningRate: Schedule = 2e-3, beta1: Schedule = 0.9, beta2: Schedule = 0.999,
    epsilon: Double = 1e-8, weightDecay: Schedule = 0, momentumDecay: Double = 4e-3,
    decoupledWeightDecay: Bool = false
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.momentumDecay = momentumDecay
    isDecayDecoupled = decoupledWeightDecay
  }

  public var rule: String {
    "NAdam(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay), "
      + "momentumDecay: \(momentumDecay), decoupledWeightDecay: \(isDecayDecoupled))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let (rate, beta2) = (learningRate, beta2)
    let momenta = Momenta(beta1, momentumDecay)
    let g = isDecayDecoupled ? gradient : state.penalized(gradient, p, by: weightDecay)
    let old = isDecayDecoupled ? state.shrunk(p, by: weightDecay, rate) : p
    let m = state.mean("first_moment", of: g, beta1, named: "beta1")
    let v = state.mean("second_moment", of: g * g, beta2, named: "beta2")
    let own = state.number("gradient_size") {
      let factors = momenta.factors(at: $0)
      return rate.value(at: $0.step) * (1 - factors.now) / (1 - factors.product)
    }
    let ahead = state.number("moment_size") {
      let factors = momenta.factors(at: $0)
      return rate.value(at: $0.step) * factors.next / (1 - factors.product * factors.next)
    }
    let correction = state.number("inverse_root_correction") {
      1 / $0.correction(of: beta2).squareRoot()
    }
    return old - (g * own + m * ahead) / (sqrt(v) * correction + epsilon)
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "NAdam")
    try require("momentumDecay", momentumDecay, in: 0..<Double.infinity, of: "NAdam")
    try require(
      epsilon: epsilon, weightDecay: weightDecay, beta1: beta1, beta2: beta2, of: "NAdam")
  }

  /// The products of momenta, each made from the one before: the same bits whenever a run was resumed.
  private final class Momenta: Sendable {
    private let beta: Schedule
    private let decay: Double
    /// The last product that was asked for, μ¹ … μᵗ.
    private let last = Mutex<(t: Int, product: Double)>((0, 1))

    init(_ beta: Schedule, _ decay: Double) {
      self.beta = beta
      self.decay = decay
    }

    /// - `t`: from 1 on.
    private func momentum(_ t: Int, _ beta: Double) -> Double {
      beta * (1 - 0.5 * pow(0.96, Double(t) * decay))
    }

    func factors(at time: UpdateTime) -> (now: Double, next: Double, product: Double) {
      let t = time.update + 1
      let offset = time.step - time.update
      let product = last.withLock { last in
        if last.t > t { last = (0, 1) }
        while last.t < t {
          last.t += 1
          last.product *= momentum(last.t, beta.value(at: last.t - 1 + offset))
        }
        return last.product
      }
      let now = beta.value(at: time.step)
      return (momentum(t, now), momentum(t + 1, now), product)
    }
  }
}

/// Rectified Adam, as PyTorch's `RAdam`: Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and
/// Beyond". Adam's step once the second moment is known well enough, a step along the momentum before.
///
///     ρ∞ = 2/(1-β₂) - 1,   ρ = ρ∞ - 2tβ₂ᵗ/(1-β₂ᵗ)
///     p ← p - η/(1-β₁ᵗ) · m · r √(1-β₂ᵗ) / (√v + ε)     where ρ > 5,
///     p ← p - η/(1-β₁ᵗ) · m                             else,
///     r² = (ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ)
public struct RAdam: DecayingOptimizer {
  public var learningRate: Schedule
  public var beta1: Schedule
  public var beta2: Schedule
  public var epsilon: Double
  public var weightDecay: Schedule
  /// Whether the parameter shrinks by ηλ instead of λ·p being added to the gradient.
  public var isDecayDecoupled: Bool

  public init(
    learningRate: Schedule = 1e-3, beta1: Schedule = 0.9, beta2: Schedule = 0.999,
    epsilon: Double = 1e-8, weightDecay: Schedule = 0, decoupledWeightDecay: Bool = false
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    isDecayDecoupled = decoupledWeightDecay
  }

  public var rule: String {
    "RAdam(beta1: \(beta1), beta2: \(beta2), epsilon: \(epsilon), weightDecay: \(weightDecay), "
      + "decoupledWeightDecay: \(isDecayDecoupled))"
  }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    let (rate, beta1, beta2) = (learningRate, beta1, beta2)
    let g = isDecayDecoupled ? gradient : state.penalized(gradient, p, by: weightDecay)
    let old = isDecayDecoupled ? state.shrunk(p, by: weightDecay, rate) : p
    let m = state.mean("first_moment", of: g, beta1, named: "beta1")
    let v = state.mean("second_moment", of: g * g, beta2, named: "beta2")
    // One of the two is 0: which, changes once, and recompiles nothing.
    let adaptive = state.number("adaptive_size") { time in
      let size = rate.value(at: time.step) / time.correction(of: beta1)
      return Self.rectification(time, beta2).map {
        size * $0 * time.correction(of: beta2).squareRoot()
      } ?? 0
    }
    let plain = state.number("plain_size") { time in
      Self.rectification(time, beta2) == nil
        ? rate.value(at: time.step) / time.correction(of: beta1) : 0
    }
    return old - m * (adaptive / (sqrt(v) + epsilon) + plain)
  }

  /// r; nil while it has no meaning.
  private static func rectification(_ time: UpdateTime, _ beta2: Schedule) -> Double? {
    let beta = beta2.value(at: time.step)
    let limit = 2 / (1 - beta) - 1
    let t = Double(time.update + 1)
    let power = pow(beta, t)
    let length = limit - 2 * t * power / (1 - power)
    guard length > 5 else { return nil }
    let share = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    return share.squareRoot()
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "RAdam")
    try require(
      epsilon: epsilon, weightDecay: weightDecay, beta1: beta1, beta2: beta2, of: "RAdam")
  }
}
