// Activations as layers, for `Sequential`.

import ApusGraph
import ApusOps

/// `max(x, 0)`: see `relu(_:)`.
public struct ReLU: Layer {
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { relu(x) }
}
