// What is reported beside the loss.

import ApusGraph
import ApusOps

/// The fraction of rows whose largest logit is at the label's place.
///
///     batch.report("accuracy", accuracy(logits, labels))             // f32[64,10], i32[64] → f32[]
///     batch.report("next", accuracy(logits, tokens, ignoring: pad))  // padding does not count
///
/// - `labels`: class numbers, of the logits' shape without its last axis (else `shapeMismatch`).
/// - `ignoring`: rows with this label do not count; where all are ignored the accuracy is 0.
public func accuracy(
  _ logits: Tensor, _ labels: Tensor, ignoring: Int? = nil, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  recordedLoss(like: logits, file, line) {
    try expectLabels("accuracy", labels, for: logits)
    let best = logits.argmax(axis: -1)
    return share(of: best .== labels.cast(to: best.dtype), labels, ignoring)
  }
}

/// The fraction of rows whose label is among the `k` largest logits.
///
///     batch.report("top 5", topKAccuracy(logits, labels, k: 5))  // f32[64,1000], i32[64] → f32[]
///
/// - `labels`: class numbers, of the logits' shape without its last axis (else `shapeMismatch`).
/// - `k`: 1 up to the number of classes (else `invalidArgument`). Of equal logits the first count.
/// - `ignoring`: rows with this label do not count; where all are ignored the accuracy is 0.
public func topKAccuracy(
  _ logits: Tensor, _ labels: Tensor, k: Int = 5, ignoring: Int? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  recordedLoss(like: logits, file, line) {
    try expectLabels("topKAccuracy", labels, for: logits)
    guard logits.isPoisoned || (1...max(logits.shape[-1], 1)).contains(k) else {
      throw ApusError(
        .invalidArgument, "topKAccuracy: the best \(k) of \(logits.type)",
        expected: "k in 1...\(logits.shape[-1])")
    }
    let best = logits.topK(k).indices
    let isHit = best .== labels.cast(to: best.dtype).expandingDims(at: -1)
    return share(of: isHit.any(axis: -1), labels, ignoring)
  }
}

/// The share of rows that hold, among those whose label counts.
private func share(of isHit: Tensor, _ labels: Tensor, _ label: Int?) -> Tensor {
  guard let isIgnored = ignored(labels, label) else { return isHit.cast(to: .f32).mean() }
  let counts = (.!isIgnored).cast(to: .f32).sum()
  let mean = (isHit .& .!isIgnored).cast(to: .f32).sum() / maximum(counts, 1)
  // Over an evaluation each batch weighs as many labels as count in it.
  mean.trace.noteMean(mean) { counts }
  return mean
}
