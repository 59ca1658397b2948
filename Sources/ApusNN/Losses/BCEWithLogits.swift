// The binary cross-entropy of logits.

import ApusGraph
import ApusOps

/// The binary cross-entropy of logits x and targets y in [0, 1], as PyTorch's
/// `binary_cross_entropy_with_logits`:
///
///     w (p y softplus(-x) + (1 - y) softplus(x))
///
/// which is `-w (p y log σ(x) + (1 - y) log(1 - σ(x)))` without the logarithm of a rounded sigmoid: no
/// finite logit overflows or loses its gradient, `w (σ(x) - y)` for p = 1.
///
///     let loss = bceWithLogits(logits, labels)                         // f32[64], u8[64] → f32[]
///     let real = bceWithLogits(discriminator(images), 1)               // all of one class
///     let rare = bceWithLogits(logits, labels, positiveWeight: counts)   // f32[64,5], f32[5]
///
/// - `targets`: probabilities or 0 and 1, of the logits' shape (else `shapeMismatch`), or a constant
///   scalar. Integers and bools are converted.
/// - `weights`: w, a factor for each loss; broadcasts to the logits. The mean divides by the number of
///   losses, not by their weight.
/// - `positiveWeight`: p, a factor for positive targets; broadcasts to the logits.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func bceWithLogits(
  _ logits: Tensor, _ targets: Tensor, weights: Tensor? = nil, positiveWeight: Tensor? = nil,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: logits, file, line) {
    try expectOneShape("bceWithLogits", logits, targets)
    try expectWeights("bceWithLogits", weights, for: logits)
    try expectWeights("bceWithLogits", positiveWeight, for: logits)
    let y = targets.cast(to: logits.dtype)
    let positive = y * softplus(-logits)
    let losses = (positiveWeight.map { positive * $0 } ?? positive) + (1 - y) * softplus(logits)
    return (weights.map { losses * $0 } ?? losses).reduced(by: reduction)
  }
}

public func bceWithLogits(
  _ logits: Tensor, _ target: Double, weights: Tensor? = nil, positiveWeight: Tensor? = nil,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  bceWithLogits(
    logits, logits.scalar(target), weights: weights, positiveWeight: positiveWeight,
    reduction: reduction, file: file, line: line)
}
