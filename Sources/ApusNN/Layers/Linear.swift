// The fully connected layer.

import ApusGraph
import ApusOps

/// `y = x·Wᵀ + b`, on the last axis: `[…, in]` → `[…, out]`.
///
/// The weight is `[out, in]`, as in PyTorch; weight and bias start in U(±1/√in). A layer may have a ``LowRankAdapter``,
/// whose result is added.
public struct Linear: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?
  let lowRank = LowRankSlot()

  public init(
    _ inputs: Int, _ outputs: Int, bias: Bool = true, initializer: Initializer = .fanInUniform()
  ) {
    weight = Parameter([outputs, inputs], initializer)
    self.bias = bias ? Parameter([outputs], .fanInUniform(fanIn: inputs)) : nil
  }

  /// With a bias that starts otherwise, or none.
  init(_ inputs: Int, _ outputs: Int, initializer: Initializer, bias initial: Initializer?) {
    weight = Parameter([outputs, inputs], initializer)
    bias = initial.map { Parameter([outputs], $0) }
  }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope), ("weight", weight), ("bias", bias as Any)] + (lowRank.adapter?.parts ?? [])
  }

  public func forward(_ x: Tensor) -> Tensor {
    let product = x.matmul(weight.tensor, transposeOther: true)
    let y = bias.map { product + $0.tensor } ?? product
    guard let adapter = lowRank.adapter else { return y }
    return y + adapter(x)
  }
}
