// The least element along axes.

import ApusGraph

/// `y = min x` over `axes`; NaN where any element is NaN.
package struct ReduceMin: ReductionOp {
  package static let mnemonic = "reduce_min"
  package static let identity = Double.infinity
  package static let integerIdentity: Int64 = .max
  package static let foldsNothing = false
  package let axes: [Int]
  package let keepDims: Bool

  package init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  package func combine(_ a: Double, _ b: Double) -> Double { a.isNaN || a < b ? a : b }
  package func combine(_ a: Int64, _ b: Int64) -> Int64 { Swift.min(a, b) }

  // The elements equal to the least share the gradient evenly, as PyTorch's amin has it.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (x, g) = (context.operands[0], context.gradient)
    let isChosen = equal(x, kept(context.result, x.shape))
    let count = isChosen.cast(to: g.dtype).sum(axes: axes, keepDims: true)
    return [`where`(isChosen, kept(g, x.shape) / count, 0)]
  }
}

extension Tensor {
  /// The least element over `axes`, all of them by default; NaN where any element is NaN.
  ///
  ///     x.min(axes: [1])   // f32[64,10] → f32[64]
  public func min(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    reduce(axes, file, line) { ReduceMin(axes: $0, keepDims: keepDims) }
  }
}
