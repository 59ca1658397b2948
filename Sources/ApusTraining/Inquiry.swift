// Why a step came to nothing: what can be told from the batch and the parameters.

import ApusData
import ApusGraph
import ApusNN

/// Looks for the reason of a loss or a gradient that is no finite number.
struct Inquiry {
  private let batch: Batch
  private let step: Int
  private let parameters: [Parameter]
  private let gradients: [(path: String, magnitude: Double)]

  /// - `parameters`: those of the step.
  /// - `gradients`: the greatest magnitude in each.
  init(
    _ batch: Batch, step: Int, parameters: [Parameter],
    gradients: [(path: String, magnitude: Double)]
  ) {
    self.batch = batch
    self.step = step
    self.parameters = parameters
    self.gradients = gradients
  }

  /// The error, with the likeliest reason.
  ///
  /// - `name`: of the number that is not finite: `loss`, or the norm or bound of an optimiser's gradients.
  func error(_ name: String, _ value: Double) -> ApusError {
    let head = "\(what(name, value)) at step \(step), and nothing was changed"
    if let (field, row, found) = badInput {
      return ApusError(
        .nonFinite, "\(head): '\(field)' holds \(found) in row \(row)",
        expected: "finite numbers in the batch")
    }
    let bad = parameters.first { parameter in
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

  /// What is wrong, in words.
  private func what(_ name: String, _ value: Double) -> String {
    let number = value.isNaN ? "NaN" : "\(value)"
    guard name.hasSuffix("gradient_norm") || name.hasSuffix("gradient_bound") else {
      return "the \(name) is \(number)"
    }
    if let bad = gradients.first(where: { !$0.magnitude.isFinite }) {
      let found = bad.magnitude.isNaN ? "a NaN" : "an infinity"
      return "the loss is finite, but the gradient of '\(bad.path)' holds \(found)"
    }
    let greatest = gradients.max { $0.magnitude < $1.magnitude }
    return "the gradients are so large that they may overflow "
      + "(up to \(greatest?.magnitude ?? .infinity) in '\(greatest?.path ?? "")')"
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
