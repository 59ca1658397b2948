// Means and deviations of host data, and standardising by them.
//
// Data is standardised once, before training; what was subtracted and divided by is kept, so that test
// data gets the same. All sums are in double, in two passes.

/// What data was standardised by: `(x - mean) / deviation` along an axis.
///
///     let (train, scale) = try features.standardized()   // each column: mean 0, deviation 1
///     let test = try scale.apply(to: testFeatures)
public struct Standardization: Sendable, Hashable {
  /// The means, with extent 1 at the axis they were taken over: `f32[1,7]` for `f32[1000,7]`.
  public let mean: NDArray
  /// The deviations, of the same shape; 1 where the data was constant, which becomes 0.
  public let deviation: NDArray

  /// `(x - mean) / deviation`, in the types of the means.
  ///
  /// - Throws: `shapeMismatch` where the array does not have the shape of the data but for the axis.
  public func apply(to array: NDArray) throws -> NDArray {
    try mapped(array) { ($0 - $1) / $2 }
  }

  /// `x · deviation + mean`: what ``apply(to:)`` undoes.
  ///
  /// - Throws: as ``apply(to:)``.
  public func undo(on array: NDArray) throws -> NDArray {
    try mapped(array) { $0 * $2 + $1 }
  }

  private func mapped(
    _ array: NDArray, _ body: (Double, Double, Double) -> Double
  ) throws -> NDArray {
    guard array.shape.rank == mean.shape.rank,
      try Shape.broadcast(array.shape, mean.shape) == array.shape
    else {
      throw ApusError(
        .shapeMismatch, "\(array.type) is standardised by means \(mean.type)",
        expected: "equal extents but where the means have 1")
    }
    let place = View(dense: mean.shape).broadcast(to: array.shape).elements
    let (means, deviations) = (mean.doubles, deviation.doubles)
    let values = zip(array.doubles, place).map { body($0, means[$1], deviations[$1]) }
    return NDArray(doubles: values, type: array.type.with(mean.dtype))
  }
}

extension NDArray {
  /// The means over one axis, which goes: over the rows by default, so one a column. `f64` of `f64`,
  /// else `f32`; NaN where there is nothing to average.
  ///
  ///     try features.mean()   // f32[1000,7] → f32[7]
  ///
  /// - Throws: `invalidArgument` for an axis that does not exist.
  public func mean(axis: Int = 0) throws -> NDArray { try moments(axis).mean.dropping(axis) }

  /// The standard deviations over one axis, which goes: `√(Σ (x - mean)² / (n - correction))`.
  ///
  ///     try features.standardDeviation()   // f32[1000,7] → f32[7]
  ///
  /// - `correction`: 0 as in NumPy and scikit-learn; 1 for the unbiased estimate.
  /// - Throws: `invalidArgument` for an axis that does not exist.
  public func standardDeviation(axis: Int = 0, correction: Double = 0) throws -> NDArray {
    try moments(axis, correction: correction).deviation.dropping(axis)
  }

  /// The data with mean 0 and deviation 1 along one axis (each column by default), and what it was
  /// standardised by, for other data to be treated alike. A constant column becomes 0.
  ///
  ///     let (train, scale) = try features.standardized()
  ///     let test = try scale.apply(to: testFeatures)
  ///
  /// - Throws: `invalidArgument` for an axis that does not exist.
  public func standardized(axis: Int = 0) throws -> (values: NDArray, by: Standardization) {
    let (mean, deviation) = try moments(axis)
    let divisors = deviation.doubles.map { $0 == 0 ? 1 : $0 }
    let by = Standardization(
      mean: mean, deviation: NDArray(doubles: divisors, type: deviation.type))
    return (try by.apply(to: self), by)
  }

  /// Means and deviations over an axis, which stays with extent 1.
  private func moments(
    _ axis: Int, correction: Double = 0
  ) throws -> (mean: NDArray, deviation: NDArray) {
    let axis = try shape.normalized(axis: axis)
    let kept = shape.reducing([axis], keepDims: true)
    // There may be no memory for what an empty array is folded to.
    _ = try NDArray(checking: TensorType(.f64, kept))
    let place = View(dense: kept).broadcast(to: shape).elements
    let count = Double(shape[axis])
    let values = doubles
    func folded(_ term: (Double, Int) -> Double) -> [Double] {
      var sums = [Double](repeating: 0, count: kept.count)
      for (value, index) in zip(values, place) { sums[index] += term(value, index) }
      return sums
    }
    let means = folded { value, _ in value }.map { $0 / count }
    let squares = folded { value, index in
      let distance = value - means[index]
      return distance * distance
    }
    let deviations = squares.map { ($0 / max(count - correction, 0)).squareRoot() }
    let type = TensorType(dtype == .f64 ? .f64 : .f32, kept)
    return (NDArray(doubles: means, type: type), NDArray(doubles: deviations, type: type))
  }

  /// Without an axis of extent 1.
  private func dropping(_ axis: Int) throws -> NDArray {
    try reshaped(shape.reducing([try shape.normalized(axis: axis)], keepDims: false))
  }
}
