// Activations as layers, for `Sequential`. The functions of the same names do the work.

import ApusGraph
import ApusOps

/// `max(x, 0)`.
public struct ReLU: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { relu(x) }
}

/// `x` above 0, `slope·x` below.
public struct LeakyReLU: Layer, Sendable {
  let scope = Scope()
  public let slope: Double
  public init(slope: Double = 0.01) { self.slope = slope }
  public func forward(_ x: Tensor) -> Tensor { leakyRelu(x, slope: slope) }
}

/// `x·Φ(x)`, or its approximation by a hyperbolic tangent: Hendrycks & Gimpel 2016.
public struct GELU: Layer, Sendable {
  let scope = Scope()
  public let isApproximate: Bool
  public init(approximate: Bool = false) { isApproximate = approximate }
  public func forward(_ x: Tensor) -> Tensor { isApproximate ? geluTanh(x) : gelu(x) }
}

/// `x·sigmoid(x)`, also known as swish: Elfwing et al. 2018.
public struct SiLU: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { silu(x) }
}

/// `1 / (1 + e⁻ˣ)`.
public struct Sigmoid: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { sigmoid(x) }
}

/// The hyperbolic tangent.
public struct Tanh: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { tanh(x) }
}

/// Probabilities over the last axis.
public struct Softmax: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { softmax(x, axis: -1) }
}

/// Logarithms of probabilities over the last axis.
public struct LogSoftmax: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { logSoftmax(x, axis: -1) }
}

/// `x` above 0, `α (eˣ - 1)` below: Clevert, Unterthiner & Hochreiter 2016.
public struct ELU: Layer, Sendable {
  let scope = Scope()
  public let alpha: Double
  public init(alpha: Double = 1) { self.alpha = alpha }
  public func forward(_ x: Tensor) -> Tensor { elu(x, alpha: alpha) }
}

/// The scaled ELU that keeps mean 0 and variance 1: Klambauer et al. 2017, "Self-Normalizing Neural Networks".
public struct SELU: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { selu(x) }
}

/// `max(x, 0) + min(α (e^(x/α) - 1), 0)`: Barron 2017. An ELU whose slope has no step at 0.
public struct CELU: Layer, Sendable {
  let scope = Scope()
  /// Not 0, or what records the layer throws `invalidArgument`.
  public let alpha: Double
  public init(alpha: Double = 1) { self.alpha = alpha }

  public func forward(_ x: Tensor) -> Tensor {
    guard alpha != 0, alpha.isFinite else {
      return .poisoned(
        ApusError(.invalidArgument, "CELU: alpha is \(alpha)", expected: "a finite number but 0"),
        like: x)
    }
    return `where`(x .> 0, x, alpha * expm1(minimum(x, 0) * (1 / alpha)))
  }
}

/// `x tanh(softplus(x))`: Misra 2020.
public struct Mish: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { mish(x) }
}

/// `x` held between 0 and 6.
public struct ReLU6: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { relu6(x) }
}

/// `x` held between -1 and 1.
public struct HardTanh: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { hardTanh(x) }
}

/// `x + 3` held between 0 and 6, over 6.
public struct HardSigmoid: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { hardSigmoid(x) }
}

/// `x` times the hard sigmoid: Howard et al. 2019, "Searching for MobileNetV3".
public struct HardSwish: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { hardSwish(x) }
}

/// `log(1 + eˣ)`.
public struct Softplus: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { softplus(x) }
}

/// `x / (1 + |x|)`.
public struct Softsign: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { softsign(x) }
}

/// `log(1 / (1 + e⁻ˣ))`, without the logarithm of a rounded sigmoid.
public struct LogSigmoid: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { -softplus(-x) }
}

/// `x` above 0, `w·x` below, with a slope that is learnt: He et al. 2015, "Delving Deep into Rectifiers".
///
///     PReLU()       // one slope
///     PReLU(64)     // one for each of 64 channels, the last axis
public struct PReLU: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter

  /// - `count`: 1, or the extent of the last axis.
  /// - `initial`: the slope at first.
  public init(_ count: Int = 1, initial: Double = 0.25) {
    weight = Parameter([count], .constant(initial))
  }

  public func forward(_ x: Tensor) -> Tensor {
    if x.isPoisoned { return x }
    let count = weight.shape[0]
    guard count == 1 || (x.rank > 0 && x.shape[-1] == count) else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "PReLU: \(x.type) for \(count) slopes", expected: "[…, \(count)]"),
        like: x)
    }
    return `where`(x .> 0, x, x * weight.tensor)
  }
}

/// A gated linear unit: the first half of the last axis times a function of the second half, `[…, 2n]` → `[…, n]`.
/// Dauphin et al. 2017; Shazeer 2020, "GLU Variants Improve Transformer".
///
///     GLU()          // a · sigmoid(b), as PyTorch's
///     GLU(.silu)     // SwiGLU; GLU(.gelu) is GEGLU, GLU(.relu) ReGLU, GLU(.identity) bilinear
public struct GLU: Layer, Sendable {
  let scope = Scope()
  public let gate: Gate

  /// What is made of the second half.
  public enum Gate: String, Sendable, Hashable, CaseIterable {
    case sigmoid, relu, gelu, silu, identity
  }

  public init(_ gate: Gate = .sigmoid) { self.gate = gate }

  public func forward(_ x: Tensor) -> Tensor {
    if x.isPoisoned { return x }
    guard x.rank > 0, x.shape[-1].isMultiple(of: 2) else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "GLU: \(x.type) has no two halves", expected: "an even last axis"),
        like: x)
    }
    let half = x.shape[-1] / 2
    return x.sliced(axis: -1, to: half) * gated(x.sliced(axis: -1, from: half), by: gate)
  }
}

/// Outside of the layer, whose gates have the functions' names.
private func gated(_ x: Tensor, by gate: GLU.Gate) -> Tensor {
  switch gate {
  case .sigmoid: sigmoid(x)
  case .relu: relu(x)
  case .gelu: gelu(x)
  case .silu: silu(x)
  case .identity: x
  }
}
