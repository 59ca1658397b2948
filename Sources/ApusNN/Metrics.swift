// What is reported beside the loss.

import ApusGraph
import ApusOps

/// The fraction of rows whose largest logit is at the label's place.
///
///     metric("accuracy", accuracy(logits, labels))   // f32[64,10], i32[64] → f32[]
public func accuracy(
  _ logits: Tensor, _ labels: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let best = logits.argmax(axis: -1, file: file, line: line)
  return equal(best, labels.cast(to: best.dtype), file: file, line: line).cast(to: .f32).mean()
}
