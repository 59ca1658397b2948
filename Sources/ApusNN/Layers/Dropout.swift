// Dropping activations at random while training.

import ApusGraph
import ApusOps

/// Sets each element to 0 with probability `p` and scales the others by 1/(1-p), in training only:
/// Srivastava et al. 2014. Each step drops others; equal seeds drop the same.
public struct Dropout: Layer, Sendable {
  let scope = Scope()
  public let p: Double

  public init(_ p: Double = 0.5) { self.p = p }

  public func forward(_ x: Tensor) -> Tensor { x.dropout(p) }
}
