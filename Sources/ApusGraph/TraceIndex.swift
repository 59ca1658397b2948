// What a trace finds by name or by content, kept beside the lists of the graph that it records.

/// Inputs, states, constants and assignments of a graph that only grows at the end of its lists.
///
/// Searching the lists would make recording take quadratic time. What has been added since the last
/// question is read in before the next answer.
final class TraceIndex {
  private var inputs: Set<String> = []
  private var states: [String: ValueID] = [:]
  private var stateValues: Set<ValueID> = []
  private var constants: [NDArray: ValueID] = [:]
  private var assigned: Set<ValueID> = []
  /// How many of the graph's have been read in.
  private var inputCount = 0, stateCount = 0, constantCount = 0, assignmentCount = 0

  /// Constants of up to this many elements are worth sharing.
  private static let smallCount = 16

  func hasInput(_ name: String, in graph: Graph) -> Bool {
    for input in graph.inputs[min(inputCount, graph.inputs.count)...] { inputs.insert(input.name) }
    inputCount = graph.inputs.count
    return inputs.contains(name)
  }

  /// The first state of that name.
  func state(_ name: String, in graph: Graph) -> ValueID? {
    readStates(of: graph)
    return states[name]
  }

  func isState(_ value: ValueID, in graph: Graph) -> Bool {
    readStates(of: graph)
    return stateValues.contains(value)
  }

  private func readStates(of graph: Graph) {
    for state in graph.states[min(stateCount, graph.states.count)...] {
      if states[state.name] == nil { states[state.name] = state.value }
      stateValues.insert(state.value)
    }
    stateCount = graph.states.count
  }

  /// The first constant that is that array, where it is small.
  func constant(_ array: NDArray, in graph: Graph) -> ValueID? {
    guard array.count <= Self.smallCount else { return nil }
    for constant in graph.constants[min(constantCount, graph.constants.count)...]
    where constant.array.count <= Self.smallCount && constants[constant.array] == nil {
      constants[constant.array] = constant.value
    }
    constantCount = graph.constants.count
    return constants[array]
  }

  func isAssigned(_ state: ValueID, in graph: Graph) -> Bool {
    // An assignment that replaces another leaves their number as it was, and its state is known.
    for assignment in graph.assignments[min(assignmentCount, graph.assignments.count)...] {
      assigned.insert(assignment.state)
    }
    assignmentCount = graph.assignments.count
    return assigned.contains(state)
  }
}
