// The Dice loss of segmentation: how little two regions overlap.

import ApusGraph
import ApusOps

/// The soft Dice loss of a class for each pixel (Milletari, Navab & Ahmadi 2016, "V-Net"): the mean over the
/// classes of
///
///     1 - (2 Σ p y + s) / (Σ p + Σ y + s)
///
/// where p is the softmax of the logits, y is 1 at the pixels of the class, and the sums go over all pixels of the
/// batch. A class of few pixels counts as much as the background, which it does not in `crossEntropy`; the two are
/// often added.
///
///     let loss = crossEntropy(logits, masks) + diceLoss(logits, masks)   // f32[8,64,64,11], i32[8,64,64]
///
/// - `labels`: class numbers, of the logits' shape without its last axis (else `shapeMismatch`). A label outside the
///   classes is an `outOfRange` error of the run.
/// - `smoothing`: s, above 0: a class that is nowhere, and is predicted nowhere, has loss 0.
public func diceLoss(
  _ logits: Tensor, _ labels: Tensor, smoothing: Double = 1, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  recordedLoss(like: logits, file, line) {
    try expectLabels("diceLoss", labels, for: logits)
    guard smoothing > 0, smoothing.isFinite else {
      throw ApusError(
        .invalidArgument, "diceLoss: the smoothing is \(smoothing)",
        expected: "a finite number above 0")
    }
    if logits.isPoisoned || labels.isPoisoned { return logits }
    let classes = logits.shape[-1]
    let p = softmax(logits, axis: -1).reshaped([-1, classes])
    let y = labels.oneHot(classes, dtype: logits.dtype).reshaped([-1, classes])
    let overlap = 2 * (p * y).sum(axis: 0) + smoothing
    return (1 - overlap / (p.sum(axis: 0) + y.sum(axis: 0) + smoothing)).mean()
  }
}
