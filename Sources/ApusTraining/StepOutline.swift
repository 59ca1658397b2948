// What the recordings of a training step tell of it, for checkpoints.

import ApusGraph
import ApusNN
import ApusRuntime

/// By which rules a step trains, what it was recorded for last, and which states it changes.
struct StepOutline {
  /// The batch that it was recorded for last.
  let fields: [BatchField]
  let optimizers: [(name: String, rule: String)]
  /// The names of what the closure reports, whether it is computed in training or not.
  let metrics: [String]
  /// The states that any recording changes, but for optimisers' slots and the random key: each under its name
  /// in the graph.
  private(set) var changed: [(name: String, cell: StateCell)] = []

  /// - `earlier`: of the recordings before, for other batches.
  init(
    _ fields: [BatchField], _ trace: Trace, _ recorder: StepRecorder,
    after earlier: StepOutline? = nil
  ) {
    self.fields = fields
    optimizers = recorder.optimizers
    metrics = recorder.batch.reports.metrics.map(\.name)
    changed = earlier?.changed ?? []
    var known = Set(changed.map { ObjectIdentifier($0.cell) })
    for slots in [recorder.slots, recorder.kept.slots] {
      known.formUnion(slots.cells.map { ObjectIdentifier($0.cell) })
    }
    let assigned = Set(trace.graph.assignments.map(\.state))
    for state in trace.graph.states where assigned.contains(state.value) {
      guard let cell = trace.stateOwners[state.name] as? StateCell,
        known.insert(ObjectIdentifier(cell)).inserted
      else { continue }
      changed.append((state.name, cell))
    }
  }

  /// The rules in words.
  var text: String { Self.text(optimizers) }

  static func text(_ optimizers: [(name: String, rule: String)]) -> String {
    optimizers.map { "\($0.name): \($0.rule)" }.joined(separator: ", ")
  }
}
