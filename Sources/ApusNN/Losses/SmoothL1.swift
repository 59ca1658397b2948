// The smooth L1 loss: absolute errors with their kink rounded off.

import ApusGraph
import ApusOps

/// The smooth L1 loss of `d = |x - y|` (Girshick 2015, "Fast R-CNN"), as PyTorch's `smooth_l1_loss`:
///
///     d² / (2 beta)   where d ≤ beta
///     d - beta/2      beyond
///
/// It is ``huber(_:_:delta:reduction:file:line:)-(_,Tensor,_,_,_,_)`` over beta: its slope beyond the kink is 1
/// whatever beta is. Detectors take it for the offsets of boxes.
///
///     let loss = smoothL1(offsets, targets, beta: 1.0 / 9)   // f32[8,480,4] both → f32[]
///
/// - `target`: of the prediction's shape, or a constant scalar; other shapes are refused (`shapeMismatch`).
/// - `beta`: 0 or more (else `invalidArgument`); 0 is the absolute error.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func smoothL1(
  _ prediction: Tensor, _ target: Tensor, beta: Double = 1, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: prediction, file, line) {
    try expectOneShape("smoothL1", prediction, target)
    guard beta >= 0, beta.isFinite else {
      throw ApusError(
        .invalidArgument, "smoothL1: beta is \(beta)", expected: "a finite number, 0 or more")
    }
    let distance = abs(prediction - target)
    guard beta > 0 else { return distance.reduced(by: reduction) }
    // With c = min(d, beta) both cases are c (d - c/2) / beta.
    let near = minimum(distance, beta)
    return (near * (distance - near * 0.5) / beta).reduced(by: reduction)
  }
}

public func smoothL1(
  _ prediction: Tensor, _ target: Double, beta: Double = 1, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  smoothL1(
    prediction, prediction.scalar(target), beta: beta, reduction: reduction, file: file, line: line)
}
