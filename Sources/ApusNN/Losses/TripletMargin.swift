// The loss of an anchor that should be nearer to one vector than to another.

import ApusGraph
import ApusOps

/// `max(‖a - p‖ - ‖a - n‖ + margin, 0)` of anchors, positives and negatives along the last axis
/// (Balntas et al. 2016, "Learning Local Feature Descriptors with Triplets and Shallow Convolutional
/// Neural Networks"), as PyTorch's `triplet_margin_loss`.
///
///     let loss = tripletMarginLoss(anchor, same, other, margin: 0.2)   // f32[64,128] each → f32[]
///
/// PyTorch adds 1e-6 to every difference to keep away from 0; here equal vectors have distance 0 and
/// gradient 0.
///
/// - `anchor`, `positive`, `negative`: of one shape (else `shapeMismatch`).
/// - `margin`: by how much the negative must be farther, 0 or more.
/// - `order`: of the norm, as `Tensor.norm` has it.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each triplet.
public func tripletMarginLoss(
  _ anchor: Tensor, _ positive: Tensor, _ negative: Tensor, margin: Double = 1,
  order: Double = 2, reduction: LossReduction = .mean, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  recordedLoss(like: anchor, file, line) {
    try expectOneShape("tripletMarginLoss", anchor, positive)
    try expectOneShape("tripletMarginLoss", anchor, negative)
    guard margin >= 0, margin.isFinite else {
      throw ApusError(
        .invalidArgument, "tripletMarginLoss: the margin is \(margin)", expected: "0 or more")
    }
    let near = (anchor - positive).norm(order: order, axis: -1)
    let far = (anchor - negative).norm(order: order, axis: -1)
    return relu(near - far + margin).reduced(by: reduction)
  }
}
