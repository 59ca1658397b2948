// Losses that learn embeddings from pairs.

import ApusGraph
import ApusOps

/// The contrastive loss of pairs of vectors along the last axis (Hadsell, Chopra & LeCun 2006, "Dimensionality Reduction
/// by Learning an Invariant Mapping"): with the distance `d = ‖x - y‖`,
///
///     d² / 2                  of a pair that is alike,
///     max(margin - d, 0)² / 2 of another.
///
///     let loss = contrastiveLoss(left, right, isPair)   // f32[64,128] both, bool[64] → f32[]
///
/// - `x`, `y`: of one shape (else `shapeMismatch`).
/// - `isAlike`: 1 or true for a pair that is alike, else 0; a number a pair.
/// - `margin`: the distance from which unlike pairs are left alone, above 0.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each pair.
public func contrastiveLoss(
  _ x: Tensor, _ y: Tensor, _ isAlike: Tensor, margin: Double = 1,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: x, file, line) {
    try expectOneShape("contrastiveLoss", x, y)
    try expectMargin("contrastiveLoss", margin)
    if x.isPoisoned || y.isPoisoned { return x }
    guard x.rank > 0 else {
      throw ApusError(
        .shapeMismatch, "contrastiveLoss: \(x.type)", expected: "vectors along the last axis")
    }
    let distance = (x - y).norm(axis: -1)
    guard isAlike.isPoisoned || isAlike.shape == distance.shape else {
      throw ApusError(
        .shapeMismatch, "contrastiveLoss: \(x.type) has labels \(isAlike.type)",
        expected: "labels of shape \(distance.shape)")
    }
    let alike = isAlike.cast(to: x.dtype)
    let terms = alike * square(distance) + (1 - alike) * square(relu(margin - distance))
    return (terms * 0.5).reduced(by: reduction)
  }
}

/// InfoNCE (van den Oord, Li & Vinyals 2018, "Representation Learning with Contrastive Predictive Coding"): the
/// cross-entropy of each row of `x` telling its own row of `y` from all others by the cosine over the temperature.
///
///     let loss = infoNCE(first, second)                        // f32[64,128] both → f32[]
///     let clip = infoNCE(images, captions, isSymmetric: true)   // CLIP's: the mean of both ways
///
/// - `x`, `y`: `[n, width]`, of one shape (else `shapeMismatch`); row i of both belong together.
/// - `temperature`: above 0.
/// - `isSymmetric`: whether rows of `y` tell rows of `x` apart as well.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each row.
public func infoNCE(
  _ x: Tensor, _ y: Tensor, temperature: Double = 0.1, isSymmetric: Bool = false,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: x, file, line) {
    try expectOneShape("infoNCE", x, y)
    if x.isPoisoned || y.isPoisoned { return x }
    guard x.rank == 2, x.shape[0] > 0 else {
      throw ApusError(
        .shapeMismatch, "infoNCE: \(x.type)", expected: "[n, width] of at least one row")
    }
    guard temperature > 0, temperature.isFinite else {
      throw ApusError(
        .invalidArgument, "infoNCE: the temperature is \(temperature)",
        expected: "a finite number above 0")
    }
    func unit(_ x: Tensor) -> Tensor { x / maximum(x.norm(axis: -1, keepDims: true), 1e-8) }
    let logits = unit(x).matmul(unit(y), transposeOther: true) * (1 / temperature)
    let own = x.trace.range(to: Double(x.shape[0]))
    let losses = crossEntropy(logits, own, reduction: reduction)
    guard isSymmetric else { return losses }
    return (losses + crossEntropy(logits.transposed(), own, reduction: reduction)) * 0.5
  }
}
