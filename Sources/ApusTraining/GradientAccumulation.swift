// Gradients that are kept from batch to batch until one update takes them all.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// What a recording of a step does with the gradients of its batch.
enum GradientUse: Hashable {
  /// The update takes them.
  case updates
  /// They are kept, and no parameter changes: the first of several batches, and those after it.
  case keepsFirst, keeps
  /// The update takes their mean with those that are kept.
  case updatesWithKept
}

/// The gradients that a step keeps: for each optimiser and parameter the sum over all examples (or over whatever
/// else the loss is a mean over), and for each optimiser how many those are.
///
/// Sums and counts, and not means of means: the batches may be of unlike sizes, or have unlike numbers of labels
/// that count, and their update is that of one batch that holds them all.
final class KeptGradients {
  /// Named `optimizer.gradient_sum`; and `optimizer.gradient_count`, of the optimiser's first parameter.
  let slots = OptimizerSlots()
  /// The batches whose gradients are kept.
  var batches = 0
  /// The parameters that they are of, with their optimisers.
  var learners: Set<OptimizerSlots.Key> = []

  /// The memory stays, since compiled graphs know it.
  func forget() {
    batches = 0
    learners = []
  }

  /// The names of both within a step.
  static func sumName(_ optimizer: String) -> String { "\(optimizer).gradient_sum" }
  static func countName(_ optimizer: String) -> String { "\(optimizer).gradient_count" }
}

extension StepRecorder {
  /// Puts the gradients of this batch to those that are kept.
  ///
  /// - `rule`: the optimiser of a parameter.
  /// - Returns: the same parameters, each with the mean of its gradients over all batches; nil where they are kept
  ///   for a later one.
  /// - Throws: `unsupported` for rules that update the looked up rows of a table alone; `resource` where there is no
  ///   memory.
  func withKept(
    _ trained: [Trained], of loss: Tensor, by optimizer: String,
    _ rule: (Trained) -> any Optimizer
  ) throws -> [Trained]? {
    if let lazy = trained.first(where: {
      rule($0).rowUpdates == .always
        && RowGradient($0.gradient, of: $0.parameter, for: rule($0), in: trace) != nil
    }) {
      throw ApusError(
        .unsupported,
        "the gradients of '\(lazy.path)' are kept over several batches, and \(rule(lazy).rule) "
          + "updates the rows of one batch alone",
        expected: "one batch an update, or a rule that is not lazy")
    }
    guard let first = trained.first else { return trained }
    let number = try keptState(
      KeptGradients.countName(optimizer), first, TensorType(.f32, []))
    let own = lossWeights.last.flatMap { joint?.sum($0) } ?? weight(of: loss)
    let count = use == .keepsFirst ? own : number.tensor + own
    if use != .updatesWithKept { trace.assign(number.cell, count) }
    var result = trained
    for (index, entry) in trained.enumerated() {
      let kept = try keptState(
        KeptGradients.sumName(optimizer), entry, TensorType(.f32, entry.parameter.shape))
      learners.insert(
        OptimizerSlots.Key(name: optimizer, parameter: ObjectIdentifier(entry.parameter)))
      let summand = entry.gradient.cast(to: .f32) * own
      let sum = use == .keepsFirst ? summand : kept.tensor + summand
      if use == .updatesWithKept {
        result[index].gradient = (sum / count).cast(to: entry.gradient.dtype)
      } else {
        trace.assign(kept.cell, sum)
      }
    }
    return use == .updatesWithKept ? result : nil
  }

  /// How much the loss counts beside those of other batches: what it is a mean over where it says so (the labels
  /// that are not ignored), else the batch's examples.
  private func weight(of loss: Tensor) -> Tensor {
    trace.weight(ofMean: loss).map { $0.reshaped([]).cast(to: .f32) }
      ?? trace.constant(Double(batch.exampleCount))
  }

  private func keptState(
    _ name: String, _ entry: Trained, _ type: TensorType
  ) throws -> (tensor: Tensor, cell: StateCell) {
    let cell = try kept.slots.slot(
      name, entry.parameter, type, initial: 0, lock: entry.cell.lock)
    let tensor = trace.state(
      of: cell, named: "\(name).\(entry.parameter.path ?? "parameter")", type)
    return (tensor, cell)
  }
}
