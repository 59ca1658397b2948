// Normalisation over the last axis.

import ApusGraph
import ApusOps

/// `y = (x - mean) / √(variance + ε) · weight + bias` over the last axis: Ba, Kiros & Hinton 2016.
public struct LayerNorm: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  public let epsilon: Double

  /// - `dimensions`: the extent of the last axis.
  public init(_ dimensions: Int, epsilon: Double = 1e-5, bias: Bool = true) {
    weight = Parameter([dimensions], .ones)
    self.bias = bias ? Parameter([dimensions], .zeros) : nil
    self.epsilon = epsilon
  }

  public func forward(_ x: Tensor) -> Tensor {
    layerNorm(x, gamma: weight.tensor, beta: bias?.tensor, epsilon: epsilon)
  }
}

/// `y = x / √(mean(x²) + ε) · weight` over the last axis: Zhang & Sennrich 2019.
public struct RMSNorm: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let epsilon: Double

  /// - `dimensions`: the extent of the last axis.
  public init(_ dimensions: Int, epsilon: Double = 1e-6) {
    weight = Parameter([dimensions], .ones)
    self.epsilon = epsilon
  }

  public func forward(_ x: Tensor) -> Tensor {
    rmsNorm(x, gamma: weight.tensor, epsilon: epsilon)
  }
}
