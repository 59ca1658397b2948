// Reductions over one axis, which is what most calls want: `x.sum(axis: -1)`.
//
// Each is the function of the same name with `axes: [axis]`.

import ApusGraph

extension Tensor {
  /// The sum over one axis; a negative one counts from the end.
  ///
  ///     x.sum(axis: 0)   // f32[64,10] → f32[10]
  public func sum(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { sum(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// The mean over one axis; NaN where there is nothing to average.
  ///
  ///     x.mean(axis: -1, keepDims: true)   // f32[64,10] → f32[64,1]
  public func mean(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { mean(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// The greatest element along one axis; NaN where any element is NaN.
  ///
  ///     x.max(axis: 1)   // f32[64,10] → f32[64]
  public func max(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { max(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// The least element along one axis; NaN where any element is NaN.
  ///
  ///     x.min(axis: 1)   // f32[64,10] → f32[64]
  public func min(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { min(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// The product over one axis.
  ///
  ///     x.product(axis: 0)   // f32[64,10] → f32[10]
  public func product(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { product(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// Whether any element along one axis is true (not 0, for numbers).
  ///
  ///     (x .> 0).any(axis: 1)   // bool[64,10] → bool[64]
  public func any(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { any(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// Whether all elements along one axis are true (not 0, for numbers).
  ///
  ///     (x .> 0).all(axis: 1)   // bool[64,10] → bool[64]
  public func all(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { all(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// The variance over one axis; `correction` as in ``variance(axes:correction:keepDims:file:line:)``.
  ///
  ///     x.variance(axis: 0)   // f32[64,10] → f32[10]
  public func variance(
    axis: Int, correction: Double = 1, keepDims: Bool = false, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    variance(axes: [axis], correction: correction, keepDims: keepDims, file: file, line: line)
  }

  /// The standard deviation over one axis: the root of the variance.
  ///
  ///     x.std(axis: 0)   // f32[64,10] → f32[10]
  public func std(
    axis: Int, correction: Double = 1, keepDims: Bool = false, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    std(axes: [axis], correction: correction, keepDims: keepDims, file: file, line: line)
  }

  /// `ln Σ eˣ` over one axis, without overflow.
  ///
  ///     logits.logsumexp(axis: -1)   // f32[64,10] → f32[64]
  public func logsumexp(
    axis: Int, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { logsumexp(axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// The norm over one axis; `order` as in ``norm(order:axes:keepDims:file:line:)``.
  ///
  ///     x.norm(axis: -1)   // f32[64,10] → f32[64]
  public func norm(
    order: Double = 2, axis: Int, keepDims: Bool = false, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor { norm(order: order, axes: [axis], keepDims: keepDims, file: file, line: line) }

  /// Without one axis, which must have extent 1.
  ///
  ///     x.squeezed(axis: -1)   // f32[64,1] → f32[64]
  public func squeezed(
    axis: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { squeezed(axes: [axis], file: file, line: line) }

  /// The order of the elements reversed along one axis.
  ///
  ///     x.flipped(axis: 0)   // [[1, 2], [3, 4]] → [[3, 4], [1, 2]]
  public func flipped(
    axis: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { flipped(axes: [axis], file: file, line: line) }
}
