// The negative log-likelihood of class numbers.

import ApusGraph
import ApusOps

/// The negative log-likelihood: `-w[label] log p[label]` for each row of log-probabilities, as PyTorch's
/// `nll_loss`, with the classes along the last axis.
///
///     let loss = nll(logSoftmax(logits), labels)   // f32[64,10], i32[64] → f32[]
///
/// Of logits, `crossEntropy` is
/// the same in one pass.
///
/// - `labels`: class numbers, of the shape without the classes (else `shapeMismatch`). A label outside
///   the classes is an `outOfRange` error of the run.
/// - `weights`: w, one a class.
/// - `ignoring`: rows with this label count for nothing; nil where every row counts. Where all rows are
///   ignored the loss is 0 (PyTorch: NaN).
/// - `reduction`: the sum over the weight of all rows that count, the sum, or a loss for each row.
public func nll(
  _ logProbabilities: Tensor, _ labels: Tensor, weights: Tensor? = nil, ignoring: Int? = -100,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: logProbabilities, file, line) {
    try expectLabels("nll", labels, for: logProbabilities)
    if let weights, !weights.isPoisoned, weights.shape != [logProbabilities.shape[-1]] {
      throw ApusError(
        .shapeMismatch, "nll: weights \(weights.type) for \(logProbabilities.type)",
        expected: "a weight for each of \(logProbabilities.shape[-1]) classes")
    }
    let isIgnored = ignored(labels, ignoring)
    let classes = isIgnored.map { `where`($0, 0, labels) } ?? labels
    let picked = logProbabilities.takeAlong(classes.expandingDims(at: -1)).squeezed(axis: -1)
    let own = weights.map { $0.cast(to: picked.dtype).take(classes) }
    var losses = own.map { $0 * -picked } ?? -picked
    if let isIgnored { losses = `where`(isIgnored, 0, losses) }
    guard reduction == .mean, own != nil || isIgnored != nil else {
      return losses.reduced(by: reduction)
    }
    var counts = own ?? Tensor.ones(labels.shape, picked.dtype)
    if let isIgnored { counts = `where`(isIgnored, 0, counts) }
    let total = counts.sum()
    // Nothing counts: 0 of 1, not 0 of 0.
    return losses.sum() / `where`(total .== 0, 1, total)
  }
}

/// Where labels are the one to be ignored; nil where none can be.
func ignored(_ labels: Tensor, _ label: Int?) -> Tensor? {
  guard let label else { return nil }
  // A number that the labels' type does not hold ignores nothing, and must not be rounded to one it does.
  let held = NDArray(doubles: [Double(label)], type: TensorType(labels.dtype, [])).integers[0]
  return held == label ? equal(labels, Double(label)) : nil
}
