// The focal loss: binary cross-entropy that leaves easy examples alone.

import ApusGraph
import ApusOps

/// The focal loss of logits x and targets y (Lin et al. 2017, "Focal Loss for Dense Object Detection"), as
/// torchvision's `sigmoid_focal_loss`: the binary cross-entropy of each element, times
///
///     α_y (1 - p_y)^γ
///
/// where p_y is the probability that the prediction gives the target, and α_y is α for targets of 1 and 1 - α for
/// those of 0. What is right already counts for little: of a hundred thousand anchors that are background, the few
/// that are taken for something else teach.
///
///     let loss = focalLoss(logits, isCar)                       // f32[8,480], bool[8,480] → f32[]
///     let sum = focalLoss(logits, isCar, reduction: .sum) / count
///
/// - `targets`: 0 and 1, or between; of the logits' shape (else `shapeMismatch`). Integers and bools are
///   converted.
/// - `alpha`: from 0 to 1; nil for no such factor.
/// - `gamma`: 0 or more; 0 is the binary cross-entropy.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func focalLoss(
  _ logits: Tensor, _ targets: Tensor, alpha: Double? = 0.25, gamma: Double = 2,
  reduction: LossReduction = .mean, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: logits, file, line) {
    try expectOneShape("focalLoss", logits, targets)
    guard gamma >= 0, gamma.isFinite else {
      throw ApusError(
        .invalidArgument, "focalLoss: gamma is \(gamma)", expected: "a finite number, 0 or more")
    }
    guard alpha.map({ (0...1).contains($0) }) ?? true else {
      throw ApusError(.invalidArgument, "focalLoss: alpha is \(alpha!)", expected: "0 to 1, or nil")
    }
    let y = targets.cast(to: logits.dtype)
    var losses = bceWithLogits(logits, y, reduction: .none)
    if gamma > 0 {
      // 1 - p_y without a difference of rounded numbers. Where it is 0 the loss is too, and has no slope.
      let wrong = sigmoid(logits) * (1 - y) + sigmoid(-logits) * y
      let isRight = wrong .== 0
      losses = `where`(isRight, 0, losses * pow(`where`(isRight, 1, wrong), gamma))
    }
    if let alpha { losses = losses * (y * (2 * alpha - 1) + (1 - alpha)) }
    return losses.reduced(by: reduction)
  }
}
