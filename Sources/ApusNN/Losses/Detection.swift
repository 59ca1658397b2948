// What a detector learns by: the classes of its anchors, and the boxes of those that hold something.

import ApusGraph
import ApusOps

/// The two losses of a single-shot detector, as RetinaNet's (Lin et al. 2017): the focal loss of all anchors that
/// count, and the smooth L1 loss of the offsets where something is, both over the number of anchors that hold
/// something, at least 1.
///
///     let found = model(batch.images)
///     let (classes, boxes) = detectionLoss(found, classes: batch.classes, offsets: batch.offsets)
///     return classes + boxes
///
/// - `found`: what a ``SingleShotDetector`` gives: logits `[n, anchors, k]` and offsets `[n, anchors, 4]`.
/// - `classes`: `i32[n, anchors]`: 0 for background, `c + 1` for class c, -1 for an anchor that counts for nothing,
///   as ``Anchors/targets(boxes:labels:classes:positive:negative:coder:)`` makes them. Another number is an
///   `outOfRange` error of the run.
/// - `offsets`: the targets, of the shape of the offsets found. Shapes that do not fit are `shapeMismatch`.
/// - `alpha`, `gamma`: of the focal loss.
/// - `beta`: of the smooth L1 loss.
public func detectionLoss(
  _ found: (logits: Tensor, offsets: Tensor), classes: Tensor, offsets: Tensor,
  alpha: Double? = 0.25, gamma: Double = 2, beta: Double = 1.0 / 9, file: StaticString = #fileID,
  line: UInt = #line
) -> (classes: Tensor, boxes: Tensor) {
  let logits = found.logits
  var boxes = logits
  let losses = recordedLoss(like: logits, file, line) {
    try expectLabels("detectionLoss", classes, for: logits)
    try expectOneShape("detectionLoss", found.offsets, offsets)
    if [logits, found.offsets, classes, offsets].contains(where: \.isPoisoned) { return logits }
    guard found.offsets.shape == Shape(classes.shape.dimensions + [4]) else {
      throw ApusError(
        .shapeMismatch, "detectionLoss: \(logits.type) has offsets \(found.offsets.type)",
        expected: "four numbers for each of \(classes.shape) anchors")
    }
    let holds = (classes .> 0)
    let count = maximum(holds.cast(to: .f32).sum(), 1)
    // Background is the first of k + 1 classes and has no logit.
    let all = `where`(classes .== -1, 0, classes).oneHot(logits.shape[-1] + 1)
    let targets = all.sliced(axis: -1, from: 1, to: logits.shape[-1] + 1)
    let focal = focalLoss(logits, targets, alpha: alpha, gamma: gamma, reduction: .none)
    let counts = (classes .!= -1).expandingDims(at: -1)
    let distance = smoothL1(found.offsets, offsets, beta: beta, reduction: .none)
    boxes = `where`(holds.expandingDims(at: -1), distance, 0).sum() / count
    return `where`(counts, focal, 0).sum() / count
  }
  return (losses, losses.isPoisoned ? losses : boxes)
}
