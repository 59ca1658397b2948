// The mean squared error.

import ApusGraph
import ApusOps

/// The squared error: `(x - y)²` for each element, and their mean by default.
///
///     let loss = mse(model(x), y)   // f32[64,1], f32[64,1] → f32[]
///     let real = mse(scores, 1)     // all against one number: least-squares GANs
///
/// Its gradient is `2 (x - y) / n`.
///
/// - `target`: of the prediction's shape, or a constant scalar. `[64,1]` against `[64]` is refused
///   (`shapeMismatch`): it would compare each with each.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func mse(
  _ prediction: Tensor, _ target: Tensor, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: prediction, file, line) {
    try expectOneShape("mse", prediction, target)
    return square(prediction - target).reduced(by: reduction)
  }
}

public func mse(
  _ prediction: Tensor, _ target: Double, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  mse(prediction, prediction.scalar(target), reduction: reduction, file: file, line: line)
}
