// The mean absolute error.

import ApusGraph
import ApusOps

/// The absolute error: `|x - y|` for each element, and their mean by default.
///
///     let loss = mae(model(x), y)   // f32[64,1], f32[64,1] → f32[]
///
/// Its gradient is the sign of `x - y` over n, and 0 where both are equal.
///
/// - `target`: of the prediction's shape, or a constant scalar; other shapes are refused
///   (`shapeMismatch`).
/// - `reduction`: a scalar (the mean or the sum), or a loss for each element.
public func mae(
  _ prediction: Tensor, _ target: Tensor, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: prediction, file, line) {
    try expectOneShape("mae", prediction, target)
    return abs(prediction - target).reduced(by: reduction)
  }
}

public func mae(
  _ prediction: Tensor, _ target: Double, reduction: LossReduction = .mean,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  mae(prediction, prediction.scalar(target), reduction: reduction, file: file, line: line)
}
