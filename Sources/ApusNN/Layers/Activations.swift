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
