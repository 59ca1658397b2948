// Huber's loss: squares near 0, straight lines beyond.

import ApusGraph
import ApusOps

/// Huber's loss of `d = |x - y|` (Huber 1964, "Robust Estimation of a Location Parameter"), as PyTorch's
/// `huber_loss`:
///
///     d² / 2              where d ≤ delta
///     delta (d - delta/2) beyond
///
/// Outliers pull no more than `delta`: the gradient is `x - y` held between `±delta`.
///
///     let loss = huber(q, target, delta: 1)   // f32[32], f32[32] → f32[]
///
/// - `target`: of the prediction's shape, or a constant scalar; other shapes are refused
///   (`shapeMismatch`).
/// - `delta`: where squares become lines, above 0 (else `invalidArgument`).
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func huber(
  _ prediction: Tensor, _ target: Tensor, delta: Double = 1, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: prediction, file, line) {
    try expectOneShape("huber", prediction, target)
    guard delta > 0, delta.isFinite else {
      throw ApusError(
        .invalidArgument, "huber: delta is \(delta)", expected: "a finite number above 0")
    }
    // With c = min(d, delta) both cases are c (d - c/2); at the kink the slopes of both agree.
    let distance = abs(prediction - target)
    let near = minimum(distance, delta)
    return (near * (distance - near * 0.5)).reduced(by: reduction)
  }
}

public func huber(
  _ prediction: Tensor, _ target: Double, delta: Double = 1, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  huber(
    prediction, prediction.scalar(target), delta: delta, reduction: reduction, file: file,
    line: line)
}
