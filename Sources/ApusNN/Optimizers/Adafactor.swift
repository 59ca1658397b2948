// Adafactor: a second moment kept as means of rows and columns.

import ApusGraph
import ApusOps
import Foundation

/// Adafactor, as PyTorch's: Shazeer & Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost".
/// Of a matrix's second moment only the means of rows and columns are kept.
///
///     β = 1 - t^decay,   ρ = min(η, 1/√t),   α = max(ε₂, rms(p))·ρ
///     p ← p - ηλ·p
///     r ← β·r + (1-β)·mean(g², columns),   c ← β·c + (1-β)·mean(g², rows),   v = r c / max(mean(r), ε₁)
///     v ← β·v + (1-β)·g²                                     (of vectors, kept whole)
///     u = g / √max(v, ε₁²)
///     p ← p - α / max(1, rms(u)/d) · u
///
/// Rows and columns are the last two axes. Of a convolution's weight, `[out, h, w, in]`, those are others than
/// PyTorch's.
public struct Adafactor: DecayingOptimizer {
  public var learningRate: Schedule
  /// The exponent of t, below 0: PyTorch's `beta2_decay`.
  public var beta2Decay: Double
  /// ε₁; nil for the distance from 1 to the next number of the element type.
  public var epsilon: Double?
  /// ε₂, the least root mean square that a parameter counts with.
  public var leastScale: Double
  /// d, the greatest root mean square of a step.
  public var clipping: Double
  public var weightDecay: Schedule

  public init(
    learningRate: Schedule = 1e-2, beta2Decay: Double = -0.8, epsilon: Double? = nil,
    leastScale: Double = 1e-3, clipping: Double = 1, weightDecay: Schedule = 0
  ) {
    self.learningRate = learningRate
    self.beta2Decay = beta2Decay
    self.epsilon = epsilon
    self.leastScale = leastScale
    self.clipping = clipping
    self.weightDecay = weightDecay
  }

  public var rule: String {
    "Adafactor(beta2Decay: \(beta2Decay), epsilon: \(epsilon.map { "\($0)" } ?? "nil"), "
      + "leastScale: \(leastScale), clipping: \(clipping), weightDecay: \(weightDecay))"
  }

  public func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
    let (rate, decay) = (learningRate, beta2Decay)
    let least = epsilon ?? Self.resolution(of: p.dtype)
    let share = state.number("beta2_share") { pow(Double($0.update + 1), decay) }
    let kept = state.number("beta2") { 1 - pow(Double($0.update + 1), decay) }
    func mean(_ slot: String, _ shape: Shape, of value: Tensor) -> Tensor {
      let new = state.slot(slot, shape: shape) * kept + value * share
      state[slot] = new
      return new
    }
    let squares = square(g)
    let v: Tensor
    if p.rank > 1 {
      let means = (
        squares.mean(axes: [-1], keepDims: true), squares.mean(axes: [-2], keepDims: true)
      )
      let rows = mean("row_moment", means.0.shape, of: means.0)
      let columns = mean("column_moment", means.1.shape, of: means.1)
      v = rows / maximum(rows.mean(axes: [-2], keepDims: true), least) * columns
    } else {
      v = mean("second_moment", p.shape, of: squares)
    }
    let u = g * rsqrt(maximum(v, least * least))
    let root = Double(max(p.type.count, 1)).squareRoot()
    let scale = maximum(p.norm() / root, leastScale)
    let excess = maximum(sqrt(square(u).sum()) / (root * clipping), 1)
    let size = state.number("step_size") {
      min(rate.value(at: $0.step), 1 / Double($0.update + 1).squareRoot())
    }
    return state.shrunk(p, by: weightDecay, rate) - u * (scale * size / excess)
  }

  private static func resolution(of dtype: DType) -> Double {
    switch dtype {
    case .f64: .ulpOfOne
    case .bf16: 0x1p-7
    case .f16: 0x1p-10
    default: Double(Float.ulpOfOne)
    }
  }

  public func validate() throws {
    try require("learningRate", learningRate, of: "Adafactor")
    try require("beta2Decay", -beta2Decay, in: Double.leastNonzeroMagnitude..<1e3, of: "Adafactor")
    try require("leastScale", leastScale, in: 0..<Double.infinity, of: "Adafactor")
    try require(
      "clipping", clipping, in: 1..<Double.infinity, of: "Adafactor")
    try require(epsilon: epsilon ?? 0, weightDecay: weightDecay, of: "Adafactor")
  }
}
