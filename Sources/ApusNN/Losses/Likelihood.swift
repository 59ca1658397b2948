// Negative log-likelihoods of counts and of numbers with a variance.

import ApusGraph
import ApusOps
import Foundation

/// The negative log-likelihood of counts t of a Poisson distribution, as PyTorch's `poisson_nll_loss`:
/// `eˣ - t x` of the logarithm x of its mean, or `x - t log(x + ε)` of the mean itself.
///
///     let loss = poissonNLL(model(batch.x), batch.counts)   // f32[64,1] both → f32[]
///
/// - `target`: of the prediction's shape (else `shapeMismatch`). Integers are converted.
/// - `isLog`: whether the prediction is the logarithm.
/// - `isFull`: whether Stirling's approximation of `log t!` is added for targets above 1.
/// - `epsilon`: ε, above 0.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func poissonNLL(
  _ prediction: Tensor, _ target: Tensor, isLog: Bool = true, isFull: Bool = false,
  epsilon: Double = 1e-8, reduction: LossReduction = .mean, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  recordedLoss(like: prediction, file, line) {
    try expectOneShape("poissonNLL", prediction, target)
    try expectEpsilon("poissonNLL", epsilon)
    let t = target.cast(to: prediction.dtype)
    var losses =
      isLog ? exp(prediction) - t * prediction : prediction - t * log(prediction + epsilon)
    if isFull {
      let counts = `where`(t .> 1, t, 1)
      let stirling = counts * log(counts) - counts + log(counts * (2 * Double.pi)) * 0.5
      losses = losses + `where`(t .> 1, stirling, 0)
    }
    return losses.reduced(by: reduction)
  }
}

/// The negative log-likelihood of targets t of a normal distribution with a mean x and a variance v, as PyTorch's
/// `gaussian_nll_loss`: `(log v + (x - t)² / v) / 2`.
///
///     let loss = gaussianNLL(mean, batch.y, variance: exp(logVariance))   // f32[64,1] each → f32[]
///
/// - `target`: of the mean's shape (else `shapeMismatch`).
/// - `variance`: 0 or more, of the mean's shape, or with an extent of 1 where it is shared.
/// - `isFull`: whether the constant `log(2π) / 2` is added.
/// - `epsilon`: the least variance, above 0; where it counts the variance has gradient 0.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func gaussianNLL(
  _ mean: Tensor, _ target: Tensor, variance: Tensor, isFull: Bool = false,
  epsilon: Double = 1e-6, reduction: LossReduction = .mean, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  recordedLoss(like: mean, file, line) {
    try expectOneShape("gaussianNLL", mean, target)
    try expectEpsilon("gaussianNLL", epsilon)
    // [64] beside [64,1] would be spread over 64 by 64.
    guard variance.isPoisoned || mean.isPoisoned || variance.rank == 0 || variance.rank == mean.rank
    else {
      throw ApusError(
        .shapeMismatch, "gaussianNLL: the variance is \(variance.type) beside \(mean.type)",
        expected: "equal shapes, such as those of variance.expandingDims(at: -1)")
    }
    try expectWeights("gaussianNLL", variance, for: mean)
    let v = maximum(variance.cast(to: mean.dtype), epsilon)
    let error = square(mean - target.cast(to: mean.dtype))
    var losses = (log(v) + error / v) * 0.5
    if isFull { losses = losses + 0.5 * Foundation.log(2 * Double.pi) }
    return losses.reduced(by: reduction)
  }
}

private func expectEpsilon(_ name: String, _ epsilon: Double) throws {
  guard epsilon > 0, epsilon.isFinite else {
    throw ApusError(
      .invalidArgument, "\(name): epsilon is \(epsilon)", expected: "a finite number above 0")
  }
}
