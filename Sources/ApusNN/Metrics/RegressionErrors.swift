// How far predictions of numbers are off.

import ApusGraph

/// The errors of predicted numbers, over as many batches as there are: MAE, MSE, RMSE and R².
///
///     var errors = RegressionErrors()
///     for batch in batches { try errors.add(predictions: predictor(batch.x), targets: batch.y) }
///     print(errors.rootMeanSquare!, errors.r2!)
///
/// Each figure has the same bits whatever the size of the batches. Several outputs of a row count as numbers of one
/// kind.
public struct RegressionErrors: Sendable, Hashable {
  private var absolute = ExactSum()
  private var squared = ExactSum()
  /// The mean of the targets, and the sum of squares around it: Welford 1962.
  private var mean = 0.0
  private var spread = ExactSum()
  /// Numbers so far.
  public private(set) var total = 0

  public init() {}

  /// Counts numbers in.
  ///
  /// - `predictions`, `targets`: of one shape: `[n,1]` beside `[n]` is refused.
  /// - Throws: `shapeMismatch` where the shapes differ. Nothing is counted then.
  public mutating func add(predictions: NDArray, targets: NDArray) throws {
    guard predictions.shape == targets.shape else {
      throw ApusError(
        .shapeMismatch, "RegressionErrors: predictions \(predictions.type) for \(targets.type)",
        expected: "one prediction for each target, in one shape")
    }
    for (prediction, target) in zip(predictions.doubles, targets.doubles) {
      let error = prediction - target
      absolute.add(abs(error))
      squared.add(error * error)
      total += 1
      let before = target - mean
      mean += before / Double(total)
      spread.add(before * (target - mean))
    }
  }

  private func per(_ sum: ExactSum) -> Double? { total == 0 ? nil : sum.value / Double(total) }

  /// MAE; nil where nothing was counted, as all of these.
  public var meanAbsolute: Double? { per(absolute) }
  /// MSE.
  public var meanSquare: Double? { per(squared) }
  /// RMSE.
  public var rootMeanSquare: Double? { meanSquare.map { $0.squareRoot() } }

  /// R², the coefficient of determination: 1 - Σ(t - p)² / Σ(t - mean)². Of targets that are all equal, 1 where all
  /// are met and else 0, as in scikit-learn. Nil for less than two numbers.
  public var r2: Double? {
    guard total > 1 else { return nil }
    guard spread.value > 0 else { return squared.value == 0 ? 1 : 0 }
    return 1 - squared.value / spread.value
  }
}
