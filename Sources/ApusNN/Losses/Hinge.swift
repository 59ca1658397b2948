// Losses with a margin: what is right by more than it costs nothing.

import ApusGraph
import ApusOps

/// The hinge loss of scores s and labels y of 1 and -1: `max(margin - y s, 0)` (Cortes & Vapnik 1995, "Support-Vector
/// Networks").
///
///     let loss = hinge(scores, labels)   // f32[64], i32[64] → f32[]
///
/// - `labels`: 1 and -1, of the scores' shape (else `shapeMismatch`). Integers are converted; zeros and ones have to
///   be made `2 * y - 1`.
/// - `margin`: above 0.
/// - `isSquared`: whether the loss is the square of that.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each score.
public func hinge(
  _ scores: Tensor, _ labels: Tensor, margin: Double = 1, isSquared: Bool = false,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: scores, file, line) {
    try expectOneShape("hinge", scores, labels)
    try expectMargin("hinge", margin)
    let losses = relu(margin - labels.cast(to: scores.dtype) * scores)
    return (isSquared ? square(losses) : losses).reduced(by: reduction)
  }
}

/// The loss of distances x that should be small (label 1) or large (label -1): `x`, or `max(margin - x, 0)`; as
/// PyTorch's `hinge_embedding_loss`.
///
///     let loss = hingeEmbeddingLoss(distances, isPair)   // f32[64], i32[64] → f32[]
///
/// - `labels`: 1 and -1, of the shape of the distances (else `shapeMismatch`).
/// - `margin`: above 0.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each distance.
public func hingeEmbeddingLoss(
  _ distances: Tensor, _ labels: Tensor, margin: Double = 1, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: distances, file, line) {
    try expectOneShape("hingeEmbeddingLoss", distances, labels)
    try expectMargin("hingeEmbeddingLoss", margin)
    let labels = labels.cast(to: distances.dtype)
    return `where`(labels .== 1, distances, relu(margin - distances)).reduced(by: reduction)
  }
}

/// The hinge loss of several classes: for each row the mean over all classes of
/// `w[label] max(margin - x[label] + x[c], 0)ᵖ`, the label's own left out (Crammer & Singer 2001, "On the Algorithmic
/// Implementation of Multiclass Kernel-based Vector Machines"); as PyTorch's `multi_margin_loss`.
///
///     let loss = multiMarginLoss(scores, labels)   // f32[64,10], i32[64] → f32[]
///
/// - `labels`: class numbers, of the scores' shape without its last axis (else `shapeMismatch`). A label outside the
///   classes is an `outOfRange` error of the run.
/// - `power`: p, 1 or 2 (else `invalidArgument`).
/// - `margin`: above 0.
/// - `weights`: w, one a class.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each row.
public func multiMarginLoss(
  _ scores: Tensor, _ labels: Tensor, power: Int = 1, margin: Double = 1, weights: Tensor? = nil,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: scores, file, line) {
    try expectLabels("multiMarginLoss", labels, for: scores)
    try expectMargin("multiMarginLoss", margin)
    guard power == 1 || power == 2 else {
      throw ApusError(
        .invalidArgument, "multiMarginLoss: the power is \(power)", expected: "1 or 2")
    }
    if scores.isPoisoned || labels.isPoisoned { return scores }
    let classes = scores.shape[-1]
    if let weights, !weights.isPoisoned, weights.shape != [classes] {
      throw ApusError(
        .shapeMismatch, "multiMarginLoss: weights \(weights.type) for \(scores.type)",
        expected: "a weight for each of \(classes) classes")
    }
    let own = scores.takeAlong(labels.expandingDims(at: -1))
    let distance = relu(margin - own + scores)
    let terms =
      (power == 1 ? distance : square(distance)) * (1 - labels.oneHot(classes, dtype: scores.dtype))
    let losses = terms.mean(axis: -1)
    let weight = weights.map { $0.cast(to: scores.dtype).take(labels) }
    return (weight.map { losses * $0 } ?? losses).reduced(by: reduction)
  }
}

/// The loss of two scores of which the first should be greater (label 1) or smaller (label -1) by a margin:
/// `max(margin - y (a - b), 0)`; as PyTorch's `margin_ranking_loss`.
///
///     let loss = marginRankingLoss(better, worse, 1, margin: 0.1)
///
/// - `a`, `b`, `labels`: of one shape (else `shapeMismatch`).
/// - `margin`: 0 or more.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each pair.
public func marginRankingLoss(
  _ a: Tensor, _ b: Tensor, _ labels: Tensor, margin: Double = 0,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: a, file, line) {
    try expectOneShape("marginRankingLoss", a, b)
    try expectOneShape("marginRankingLoss", a, labels)
    guard margin >= 0, margin.isFinite else {
      throw ApusError(
        .invalidArgument, "marginRankingLoss: the margin is \(margin)", expected: "0 or more")
    }
    return relu(margin - labels.cast(to: a.dtype) * (a - b)).reduced(by: reduction)
  }
}

public func marginRankingLoss(
  _ a: Tensor, _ b: Tensor, _ label: Double, margin: Double = 0,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  marginRankingLoss(
    a, b, a.scalar(label), margin: margin, reduction: reduction, file: file, line: line)
}

/// - Throws: `invalidArgument` unless the margin is above 0.
func expectMargin(_ name: String, _ margin: Double) throws {
  guard margin > 0, margin.isFinite else {
    throw ApusError(
      .invalidArgument, "\(name): the margin is \(margin)", expected: "a finite number above 0")
  }
}
