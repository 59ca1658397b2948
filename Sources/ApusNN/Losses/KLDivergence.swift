// The divergence of one distribution from another.

import ApusGraph
import ApusOps

/// What a divergence over many rows becomes.
public enum DivergenceReduction: String, Sendable, Hashable, CaseIterable {
  /// A term for each element.
  case none
  /// The sum over all elements.
  case sum
  /// The sum over the extent of the first axis: the mean divergence of a row, the mathematical one for
  /// `[rows, classes]`. PyTorch's `batchmean`.
  case batchMean
  /// The sum over the number of elements: PyTorch's `mean`, smaller than the divergence by the number of
  /// classes.
  case elementMean
}

/// The Kullback-Leibler divergence `Σ t (log t - log p)` of the target t from the prediction p (Kullback
/// & Leibler 1951, "On Information and Sufficiency"), as PyTorch's `kl_div`. The prediction is given as
/// log-probabilities.
///
///     let loss = klDivergence(logSoftmax(student), softmax(teacher))   // f32[64,10] both → f32[]
///     let same = klDivergence(logSoftmax(student), logSoftmax(teacher), targetIsLog: true)
///
/// A target of 0 takes no part: its term is 0 whatever p is, and so are the gradients for it.
///
/// - `target`: probabilities, or their logarithms where `targetIsLog`; of the prediction's shape (else
///   `shapeMismatch`).
/// - `reduction`: ``DivergenceReduction/batchMean`` by default.
public func klDivergence(
  _ logProbabilities: Tensor, _ target: Tensor, targetIsLog: Bool = false,
  reduction: DivergenceReduction = .batchMean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: logProbabilities, file, line) {
    try expectOneShape("klDivergence", logProbabilities, target)
    let probabilities = targetIsLog ? exp(target) : target
    // Neither the logarithm of 0 nor 0 times an infinite one may be met, in the gradients either.
    let isZero = probabilities .== 0
    let logTarget =
      targetIsLog ? `where`(isZero, 0, target) : log(`where`(isZero, 1, probabilities))
    let difference = logTarget - `where`(isZero, 0, logProbabilities)
    let terms = `where`(isZero, 0, probabilities * difference)
    switch reduction {
    case .none: return terms
    case .sum: return terms.sum()
    case .batchMean: return terms.sum() / Double(logProbabilities.shape[0])
    case .elementMean: return terms.mean()
    }
  }
}
