// A layer of two inputs.

import ApusGraph
import ApusOps

/// `yₖ = xᵀ·Wₖ·z + bₖ` on the last axes: `[…, left]` and `[…, right]` → `[…, out]`, as PyTorch's `Bilinear`.
///
///     let score = Bilinear(64, 32, 1)
///     score(user, item)   // f32[n,64], f32[n,32] → f32[n,1]
///
/// The weight is `[out, left, right]`; weight and bias start in U(±1/√left).
public struct Bilinear: Module, Sendable {
  let scope = Scope()
  public let weight: Parameter
  public let bias: Parameter?

  public init(_ left: Int, _ right: Int, _ outputs: Int, bias: Bool = true) {
    weight = Parameter([outputs, left, right], .fanInUniform(fanIn: left))
    self.bias = bias ? Parameter([outputs], .fanInUniform(fanIn: left)) : nil
  }

  /// - `x`, `z`: of equal axes but the last (else `shapeMismatch`).
  public func callAsFunction(
    _ x: Tensor, _ z: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) { forward(x, z) }
  }

  private func forward(_ x: Tensor, _ z: Tensor) -> Tensor {
    if x.isPoisoned { return x }
    if z.isPoisoned { return z }
    let (outputs, left, right) = (weight.shape[0], weight.shape[1], weight.shape[2])
    guard x.rank > 0, z.rank > 0, x.shape[-1] == left, z.shape[-1] == right,
      x.shape.dimensions.dropLast() == z.shape.dimensions.dropLast()
    else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "Bilinear: \(x.type) and \(z.type)",
          expected: "[…, \(left)] and […, \(right)]"), like: x)
    }
    // One product for all outputs: [rows, left] by [left, out · right].
    let matrix = weight.tensor.transposed([1, 0, 2]).reshaped([left, outputs * right])
    let rows = Array(x.shape.dimensions.dropLast())
    let half = x.matmul(matrix).reshaped(Shape(rows + [outputs, right]))
    let y = (half * z.expandingDims(at: -2)).sum(axis: -1)
    return bias.map { y + $0.tensor } ?? y
  }
}
