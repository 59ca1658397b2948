// Tables of vectors, looked up by number.

import ApusGraph
import ApusOps

/// `y[…] = table[ids[…]]`: integers `[…]` → vectors `[…, dimensions]`.
///
/// The table is `[count, dimensions]` and starts in N(0, 1), as in PyTorch. A number outside
/// `0 ..< count` ends the step with an `outOfRange` error.
public struct Embedding: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter

  public init(
    _ count: Int, _ dimensions: Int,
    initializer: Initializer = .normal(mean: 0, deviation: 1)
  ) {
    weight = Parameter([count, dimensions], initializer)
  }

  public func forward(_ ids: Tensor) -> Tensor { embedding(ids, weight.tensor) }
}
