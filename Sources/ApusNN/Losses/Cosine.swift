// The cosine of the angle between vectors, and the loss made of it.

import ApusGraph
import ApusOps

/// The cosine of the angle between vectors along `axis`: `x·y / (max(‖x‖, ε) max(‖y‖, ε))`, as PyTorch's
/// `cosine_similarity`. The axis goes; the others broadcast.
///
///     cosineSimilarity(x, y)                                                 // f32[64,128] both → f32[64]
///     cosineSimilarity(x.expandingDims(at: 1), y.expandingDims(at: 0))   // each with each: f32[64,64]
///
/// A zero vector has similarity 0 with all vectors, and gradient 0.
///
/// - `axis`: of vectors of one length (else `shapeMismatch`).
/// - `epsilon`: the least length that is divided by, 0 or more.
public func cosineSimilarity(
  _ x: Tensor, _ y: Tensor, axis: Int = -1, epsilon: Double = 1e-8,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: x, file, line) {
    if x.isPoisoned || y.isPoisoned { return x * y }
    let shape = try Shape.broadcast(x.shape, y.shape)
    // Counted from the end, the axis is the same in both.
    let last = try shape.normalized(axis: axis) - shape.rank
    guard -last <= min(x.rank, y.rank), x.shape[last] == y.shape[last] else {
      throw ApusError(
        .shapeMismatch, "cosineSimilarity: \(x.type) and \(y.type) along axis \(axis)",
        expected: "vectors of one length")
    }
    guard epsilon >= 0, epsilon.isFinite else {
      throw ApusError(
        .invalidArgument, "cosineSimilarity: epsilon is \(epsilon)", expected: "0 or more")
    }
    let lengths = (x.norm(axis: last), y.norm(axis: last))
    let isZero = (lengths.0 .== 0) .| (lengths.1 .== 0)
    let product = maximum(lengths.0, epsilon) * maximum(lengths.1, epsilon)
    return `where`(isZero, 0, (x * y).sum(axis: last) / `where`(isZero, 1, product))
  }
}

/// The loss of pairs that should be alike (label 1) or not (label -1): `1 - cos(x, y)`, or
/// `max(cos(x, y) - margin, 0)`; as PyTorch's `cosine_embedding_loss`.
///
///     let loss = cosineEmbeddingLoss(left, right, isPair)   // f32[64,128] both, i32[64] → f32[]
///
/// - `x`, `y`: vectors along the last axis, of one shape (else `shapeMismatch`).
/// - `labels`: 1 and -1, a number a pair; a pair with another label has loss 0.
/// - `margin`: the cosine up to which unlike pairs are left alone, in -1…1.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each pair.
public func cosineEmbeddingLoss(
  _ x: Tensor, _ y: Tensor, _ labels: Tensor, margin: Double = 0,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: x, file, line) {
    try expectOneShape("cosineEmbeddingLoss", x, y)
    guard (-1...1).contains(margin) else {
      throw ApusError(
        .invalidArgument, "cosineEmbeddingLoss: the margin is \(margin)", expected: "-1 to 1")
    }
    let cosine = cosineSimilarity(x, y)
    guard cosine.isPoisoned || labels.isPoisoned || labels.shape == cosine.shape else {
      throw ApusError(
        .shapeMismatch, "cosineEmbeddingLoss: \(x.type) has labels \(labels.type)",
        expected: "labels of shape \(cosine.shape)")
    }
    let labels = labels.cast(to: cosine.dtype)
    let unlike = `where`(labels .== -1, relu(cosine - margin), 0)
    return `where`(labels .== 1, 1 - cosine, unlike).reduced(by: reduction)
  }
}
