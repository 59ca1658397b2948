// Of many boxes around one thing, the best.

import ApusGraph

/// The boxes that are left when each takes away those of lower scores that overlap it by more than `iouThreshold`:
/// greedy non-maximum suppression, as `torchvision.ops.nms`.
///
///     let kept = try nonMaximumSuppression(boxes, scores, iouThreshold: 0.5)   // f32[80,4], f32[80] → [7, 21, 3]
///     let best = try boxes.rows(at: kept)
///
/// - `boxes`: `[n, 4]`, corners in pixels; n may be 0.
/// - `scores`: `[n]`. Of equal scores the first box goes before.
/// - `iouThreshold`: from 0 to 1.
/// - Returns: places of boxes, by falling score.
/// - Throws: as ``Boxes``; `shapeMismatch` for another number of scores, `nonFinite` naming a score that is no number,
///   `invalidArgument` for another threshold.
public func nonMaximumSuppression(
  _ boxes: NDArray, _ scores: NDArray, iouThreshold: Double
) throws -> [Int] {
  let corners = try Boxes.read(boxes, "nonMaximumSuppression")
  let scores = try readScores(scores, corners.count, "nonMaximumSuppression")
  try checkThreshold(iouThreshold, "nonMaximumSuppression")
  return suppressed(corners, scores, labels: nil, iouThreshold)
}

/// Non-maximum suppression within each class: boxes of different classes leave each other alone. As
/// `torchvision.ops.batched_nms`.
///
///     let kept = try batchedNonMaximumSuppression(boxes, scores, labels, iouThreshold: 0.5)
///
/// - `labels`: integers `[n]`, of any values.
/// - Otherwise as ``nonMaximumSuppression(_:_:iouThreshold:)``; `dtypeMismatch` where labels are no integers.
public func batchedNonMaximumSuppression(
  _ boxes: NDArray, _ scores: NDArray, _ labels: NDArray, iouThreshold: Double
) throws -> [Int] {
  let name = "batchedNonMaximumSuppression"
  let corners = try Boxes.read(boxes, name)
  let scores = try readScores(scores, corners.count, name)
  try checkThreshold(iouThreshold, name)
  return suppressed(
    corners, scores, labels: try readLabels(labels, corners.count, name), iouThreshold)
}

/// The places of the boxes that are left, by falling score.
func suppressed(
  _ boxes: [Box], _ scores: [Double], labels: [Int]?, _ threshold: Double
) -> [Int] {
  var kept: [Int] = []
  for place in fallingOrder(scores) {
    let isTaken = kept.contains { other in
      (labels.map { $0[other] == $0[place] } ?? true)
        && boxes[other].iou(boxes[place]) > threshold
    }
    if !isTaken { kept.append(place) }
  }
  return kept
}

/// Places by falling number; of equal ones the first goes before.
func fallingOrder(_ scores: [Double]) -> [Int] {
  scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
}

func readScores(_ scores: NDArray, _ count: Int, _ name: String) throws -> [Double] {
  guard scores.shape == [count] else {
    throw ApusError(
      .shapeMismatch, "\(name): scores \(scores.type) for \(count) boxes",
      expected: "one score for each box")
  }
  let values = scores.doubles
  if let place = values.firstIndex(where: \.isNaN) {
    throw ApusError(.nonFinite, "\(name): the score of box \(place) is NaN", expected: "numbers")
  }
  return values
}

func readLabels(_ labels: NDArray, _ count: Int, _ name: String) throws -> [Int] {
  guard labels.shape == [count] else {
    throw ApusError(
      .shapeMismatch, "\(name): labels \(labels.type) for \(count) boxes",
      expected: "one label for each box")
  }
  guard !labels.dtype.isFloat, labels.dtype != .bool else {
    throw ApusError(
      .dtypeMismatch, "\(name): labels are \(labels.type)", expected: "integers: class numbers")
  }
  return labels.integers
}

private func checkThreshold(_ threshold: Double, _ name: String) throws {
  guard (0...1).contains(threshold) else {
    throw ApusError(
      .invalidArgument, "\(name): the threshold is \(threshold)",
      expected: "an intersection over union, from 0 to 1")
  }
}
