// Why a step came to nothing: what can be told from the batch and the parameters.

import ApusData
import ApusGraph
import ApusNN

/// Looks for the reason of a loss or a gradient that is no finite number.
struct Inquiry {
  private let batch: Batch
  private let step: Int

  init(_ batch: Batch, step: Int) {
    self.batch = batch
    self.step = step
  }

  /// The error, with the likeliest reason.
  ///
  /// - `name`: of the number that is not finite, such as `loss`.
  /// - `considered`: the parameters of the step.
  func error(_ name: String, _ value: Double, considered: [Parameter]) -> ApusError {
    let what = name.hasSuffix("gradient_norm") ? "the norm of the gradients" : "the \(name)"
    let number = value.isNaN ? "NaN" : "\(value)"
    let head = "\(what) is \(number) at step \(step), and nothing was changed"
    if let (field, row, found) = badInput {
      return ApusError(
        .nonFinite, "\(head): '\(field)' holds \(found) in row \(row)",
        expected: "finite numbers in the batch")
    }
    let bad = considered.first { parameter in
      (try? parameter.value()).map { !$0.isFinite } ?? false
    }
    if let bad {
      return ApusError(
        .nonFinite, "\(head): parameter '\(bad.path ?? "")' holds a NaN or an infinity",
        expected: "finite parameters")
    }
    let advice =
      step == 0
      ? "at the first step look at the scale of inputs and first values, and for log, sqrt and "
        + "divisions at 0" : "a lower learning rate, or clipNorm"
    return ApusError(
      .nonFinite, head, expected: "finite numbers; \(advice); APUS_CHECK=nan names the first op")
  }

  /// The first element of the batch that is no finite number.
  private var badInput: (field: String, row: Int, found: String)? {
    for (name, array) in zip(batch.names, batch.arrays) where !array.isFinite {
      let values = array.doubles
      guard let index = values.firstIndex(where: { !$0.isFinite }) else { continue }
      let rows = array.shape.rank > 0 ? array.shape[0] : 1
      return (
        name, index / (array.count / rows), values[index].isNaN ? "a NaN" : "\(values[index])"
      )
    }
    return nil
  }
}
