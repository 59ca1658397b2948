// Stochastic gradient descent.

import ApusGraph
import ApusOps

/// Stochastic gradient descent with momentum, as PyTorch's `SGD`.
///
///     g ← ∇ + λ·p            (weight decay)
///     v ← μ·v + (1-δ)·g      (momentum μ, dampening δ; v ← g in the first step)
///     p ← p - η·v            (or p - η·(g + μ·v) with Nesterov's momentum)
///
/// Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
///
///     SGD(learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 5e-4)
public struct SGD: DecayingOptimizer {
  public var learningRate: Schedule
  public var momentum: Schedule
  public var dampening: Double
  public var isNesterov: Bool
  public var weightDecay: Schedule

  public init(
    learningRate: Schedule, momentum: Schedule = 0, dampening: Double = 0, nesterov: Bool = false,
    weightDecay: Schedule = 0
  ) {
    self.learningRate = learningRate
    self.momentum = momentum
    self.dampening = dampening
    isNesterov = nesterov
    self.weightDecay = weightDecay
  }

  public var rule: String {
    let damped = dampening == 0 ? "" : ", dampening: \(dampening)"
    return
      "SGD(momentum: \(momentum), nesterov: \(isNesterov), weightDecay: \(weightDecay)\(damped))"
  }

  /// Exact without momentum and decay.
  public var rowUpdates: RowUpdates { momentum.isZero && weightDecay.isZero ? .exact : .never }

  public func update(_ p: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor {
    if let momentum = momentum.constant, let decay = weightDecay.constant, dampening == 0,
      momentum != 0
    {
      let learningRate = learningRate
      let new = momentumStep(
        p, gradient, velocity: state["momentum"],
        rate: state.scalar("rate") { learningRate.value(at: $0.step) }, momentum: momentum,
        nesterov: isNesterov, weightDecay: decay)
      state["momentum"] = new.velocity
      return new.parameter
    }
    let rate = state.rate(learningRate)
    let g = state.penalized(gradient, p, by: weightDecay)
    guard !momentum.isZero else { return p - g * rate }
    let (factor, dampening) = (state.setting("momentum", momentum, like: p), dampening)
    var own = g
    if dampening != 0 {
      own = g * state.number("momentum_share") { $0.update == 0 ? 1 : 1 - dampening }
    }
    let v = state["momentum"] * factor + own
    state["momentum"] = v
    return p - (isNesterov ? g + v * factor : v) * rate
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "SGD")
    try require("momentum", momentum, in: 0..<1, of: "SGD")
    try require("dampening", dampening, in: 0..<Double.infinity, of: "SGD")
    try require("weightDecay", weightDecay, of: "SGD")
    if isNesterov && (momentum.isZero || dampening != 0) {
      throw ApusError(
        .invalidArgument,
        "SGD: Nesterov's momentum \(momentum.isZero ? "without momentum" : "with dampening")",
        expected: "momentum > 0 and no dampening")
    }
  }
}
