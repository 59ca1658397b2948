// The condition under which a run changes states: losses and gradient norms that are finite, indices that lie
// in their tables.
//
// A step that would make weights of a NaN, or of a batch with a bad label, must leave everything as it was. All
// that is watched is computed before the first step that writes a state; there every thread looks at it, and
// the run ends where it does not hold. It costs a look, and a barrier only where none stands there anyway.

import ApusGraph

/// What a call has to do with the condition.
enum ConditionRole {
  case none
  /// Something that is watched depends on it: it may not write a state in place.
  case needed
  /// It makes what is watched: a required output, or an index error.
  case watched
}

extension LoweredGraph {
  /// Finds what is watched and brings the calls that write states behind it.
  mutating func placeCondition() {
    guard !graph.assignments.isEmpty else { return }
    var writers: [ValueID: Int] = [:]
    for (index, call) in calls.enumerated() {
      for value in call.results { writers[value] = index }
    }
    var watched = Set(
      graph.outputs.filter(\.isRequired).compactMap { writers[root($0.operand).value] })
    watched.formUnion(indexChecks())
    guard !watched.isEmpty || graph.outputs.contains(where: \.isRequired) else { return }
    hasCondition = true
    var open = Array(watched)
    for index in watched { calls[index].role = .watched }
    while let index = open.popLast() {
      for operand in calls[index].operands {
        guard let maker = writers[root(operand).value], calls[maker].role == .none else { continue }
        calls[maker].role = .needed
        open.append(maker)
      }
    }
    deferWriters(behind: watched.max() ?? -1)
  }

  /// The calls that look at indices which no call before has looked at: a gradient's scatter finds nothing
  /// that the gather before it has not found.
  private func indexChecks() -> [Int] {
    struct Check: Hashable {
      var root: ValueID
      var offset: Int
      var limit: Int
    }
    var known: Set<Check> = []
    return calls.indices.filter { index in
      let call = calls[index]
      guard call.call.bindings.contains(where: { $0.buffer == .errorSlot }) else { return false }
      guard let (operand, limit) = call.call.checkedIndices else { return true }
      let (root, offset) = root(call.operands[operand])
      return known.insert(Check(root: root, offset: offset, limit: limit)).inserted
    }
  }

  /// Calls that write states, and those that read what they write, follow call `last`.
  private mutating func deferWriters(behind last: Int) {
    let assigned = Set(graph.assignments.map { root($0.operand).value })
    var late: Set<ValueID> = []
    var before: [Call] = [], after: [Call] = []
    for (index, call) in calls.enumerated() {
      let writes = call.role == .none && call.results.contains { assigned.contains($0) }
      if index > last || writes || call.operands.contains(where: { late.contains(root($0).value) })
      {
        after.append(call)
        late.formUnion(call.results)
      } else {
        before.append(call)
      }
    }
    calls = before + after
  }

  /// Whether a call makes a state's new value and may do so in the state's memory.
  func mayWriteStates(_ call: Call) -> Bool { !hasCondition || call.role == .none }
}

extension Plan {
  /// The condition under which the steps from `firstWrite` on run.
  package struct Condition: Sendable {
    /// Outputs that must be finite.
    package var outputs: [Port]
    /// Error slots that must be empty.
    package var errorSlots: [Int]
    /// The last step that makes what is looked at; nil where none does.
    package var lastWatched: Int?
    /// The first step that writes a state.
    package var firstWrite: Int
  }
}

extension Plan.Condition: CustomStringConvertible {
  /// As in `ends here unless loss is finite and 2 index checks found nothing`.
  package var description: String {
    let finite = outputs.map(\.name).joined(separator: ", ")
    let parts =
      (outputs.isEmpty ? [] : ["\(finite) finite"])
      + (errorSlots.isEmpty ? [] : ["no bad index in \(errorSlots.count) lookups"])
    return "ends here without a change unless: \(parts.joined(separator: ", "))"
  }

  /// - `roles`: of the plan's first steps.
  init?(_ steps: [Plan.Step], _ roles: [ConditionRole], outputs: [Plan.Port], _ hasCondition: Bool)
  {
    let write = steps.firstIndex { step in
      step.results.contains { if case .state = $0.place.space { true } else { false } }
    }
    guard hasCondition, let write else { return nil }
    let watched = roles.indices.filter { roles[$0] == .watched }
    self.outputs = outputs
    errorSlots = watched.flatMap { index -> Range<Int> in
      let (step, first) = (steps[index], steps[index].errorSlot ?? 0)
      return first..<first + (step.errorSlot == nil ? 0 : step.loop?.errorSlots ?? 1)
    }
    lastWatched = watched.last
    firstWrite = write
  }
}
