// Muon: the momentum of a matrix, made orthogonal.

import ApusGraph
import ApusOps

/// Muon, as PyTorch's: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". The momentum
/// of a matrix, with all its singular values brought near 1 by a few products.
///
///     b ← μ·b + (1-μ)·g
///     u = (1-μ)·g + μ·b with Nesterov's momentum, else b
///     X = u / ‖u‖;  5 times: X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X
///     p ← p - ηλ·p - η √max(1, rows/columns) · X
///
/// It is for the matrices of hidden layers. Other parameters, those of fewer than two axes, take the step of
/// `others`, and so should embeddings and the last layer, by a group of their own:
///
///     let adam = AdamW(learningRate: 3e-4)
///     step.minimize(
///       loss, over: model, with: Muon(learningRate: 0.02, others: adam),
///       groups: ["embedding.*": adam, "head.*": adam])
///
/// A weight of more than two axes is a matrix of its first axis by the rest. The products are in the parameter's
/// element type; PyTorch's are in bf16.
public struct Muon: DecayingOptimizer {
  public var learningRate: Schedule
  public var weightDecay: Schedule
  public var momentum: Schedule
  public var isNesterov: Bool
  /// a, b, c.
  public var coefficients: [Double]
  public var epsilon: Double
  public var iterations: Int
  public var adjustment: Adjustment
  /// The rule of parameters that are no matrices.
  public var others: any Optimizer

  /// How the rate follows from a matrix's extents.
  public enum Adjustment: String, Sendable, Hashable {
    /// Times √max(1, rows/columns).
    case original
    /// Times 0.2 √max(rows, columns): steps as long as AdamW's, whose rate it can take (Liu et al. 2025).
    case matchingAdamW
  }

  public init(
    learningRate: Schedule = 1e-3, weightDecay: Schedule = 0.1, momentum: Schedule = 0.95,
    nesterov: Bool = true, coefficients: [Double] = [3.4445, -4.775, 2.0315],
    epsilon: Double = 1e-7, iterations: Int = 5, adjustment: Adjustment = .original,
    others: any Optimizer = AdamW()
  ) {
    self.learningRate = learningRate
    self.weightDecay = weightDecay
    self.momentum = momentum
    isNesterov = nesterov
    self.coefficients = coefficients
    self.epsilon = epsilon
    self.iterations = iterations
    self.adjustment = adjustment
    self.others = others
  }

  public var rule: String {
    "Muon(weightDecay: \(weightDecay), momentum: \(momentum), nesterov: \(isNesterov), "
      + "coefficients: \(coefficients), epsilon: \(epsilon), iterations: \(iterations), "
      + "adjustment: \(adjustment), others: \(others.rule))"
  }

  public func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
    guard p.rank > 1, p.type.count > 0 else {
      var own = state.part("others")
      return others.update(p, g, &own)
    }
    let b = state.mean("momentum", of: g, momentum, named: "momentum")
    var u = b
    if isNesterov {
      let share = state.setting("momentum_share", momentum.map { 1 - $0 }, like: p)
      u = g * share + b * state.setting("momentum", momentum, like: p)
    }
    let (rows, columns) = (p.shape[0], p.type.count / p.shape[0])
    let step = orthogonalized(u.reshaped([rows, columns])).reshaped(p.shape)
    let factor: Double =
      switch adjustment {
      case .original: max(1, Double(rows) / Double(columns)).squareRoot()
      case .matchingAdamW: 0.2 * Double(max(rows, columns)).squareRoot()
      }
    let rate = learningRate
    let size = state.number("step_size") { rate.value(at: $0.step) * factor }
    return state.shrunk(p, by: weightDecay, rate) - step * size
  }

  /// A matrix of the same singular vectors, with singular values near 1: Newton and Schulz's iteration, on the side
  /// that is the smaller.
  private func orthogonalized(_ u: Tensor) -> Tensor {
    let isTall = u.shape[0] > u.shape[1]
    var x = isTall ? u.transposed() : u
    x = x / maximum(x.norm(), epsilon)
    for _ in 0..<iterations {
      let gram = x.matmul(x, transposeOther: true)
      let polynomial = gram * coefficients[1] + gram.matmul(gram) * coefficients[2]
      x = x * coefficients[0] + polynomial.matmul(x)
    }
    return isTall ? x.transposed() : x
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "Muon")
    try require("momentum", momentum, in: 0..<1, of: "Muon")
    try require("iterations", iterations, in: 1..<100, of: "Muon")
    try require(epsilon: epsilon, weightDecay: weightDecay, of: "Muon")
    guard coefficients.count == 3, coefficients.allSatisfy(\.isFinite) else {
      throw ApusError(
        .invalidArgument, "Muon: coefficients is \(coefficients)",
        expected: "three finite numbers")
    }
    try others.validate()
  }
}
