// Joining axes between convolutional and linear layers.

import ApusGraph
import ApusOps

/// Joins all axes from `axis` on into one: `[N, 28, 28, 1]` → `[N, 784]`.
public struct Flatten: Layer, Sendable {
  let scope = Scope()
  public let axis: Int

  public init(from axis: Int = 1) { self.axis = axis }

  public func forward(_ x: Tensor) -> Tensor { x.flattened(from: axis) }
}
