// What the order of a plan's calls depends on: which call must come before which, and which bytes each one
// reads, makes and may write over.
//
// `MemoryPlan` gives values their places by the same rules, so that what an order is measured by here is what
// the plan then takes (`LiveBytes.peak` is the plan's lower bound).

import ApusGraph

/// The calls of a lowered graph, as far as their order matters. Values are the roots of the lowered graph, by
/// their numbers.
struct CallGraph {
  /// The roots each call reads and makes, each once.
  let reads: [[Int]]
  let makes: [[Int]]
  /// By root: the calls that read it, each once.
  let readers: [[Int]]
  /// Bytes of each root, 0 for those that have memory of their own.
  let bytes: [Int]
  /// Roots that are read after the last call.
  let isKept: [Bool]
  /// Bytes that all threads share while a call runs.
  let workspaces: [Int]
  /// By root: the state that it is the new value of and may be written over.
  let state: [Int?]
  /// By a state's root: the call that makes its new value, and that value.
  let updates: [Int: (call: Int, value: Int)]
  /// By root: dying operands whose memory it may take over, in the order in which the plan tries them.
  let takesOver: [[Int]]
  /// By call: those that need what it makes. The number behind the last call stands for the condition, which
  /// is met when all that it watches is there.
  private let followers: [[Int]]
  private let waitsFor: [Int]

  var count: Int { reads.count }

  /// - `updatesInPlace`: whether a call that makes a state's new value must come after those before it
  ///   in the given order that read the old one.
  init(_ lowered: LoweredGraph, updatesInPlace: Bool) {
    let graph = lowered.graph, calls = lowered.calls, values = graph.types.count
    let places = calls.map { InPlacePlaces($0, lowered) }
    let reads = places.map(\.distinctRoots)
    makes = calls.map { $0.results.map(\.index) }
    workspaces = calls.map(\.call.workspaceBytes)
    var bytes = [Int](repeating: 0, count: values)
    var makers = [Int?](repeating: nil, count: values)
    var readers = [[Int]](repeating: [], count: values)
    var takesOver = [[Int]](repeating: [], count: values)
    for (index, call) in calls.enumerated() {
      for root in reads[index] { readers[root].append(index) }
      for (result, value) in call.results.enumerated() {
        makers[value.index] = index
        bytes[value.index] = graph.type(of: value).byteCount
        takesOver[value.index] = places[index].roots(for: result).map(\.index)
      }
    }
    var isKept = [Bool](repeating: false, count: values)
    for operand in graph.outputs.map(\.operand) + graph.assignments.map(\.operand) {
      isKept[lowered.root(operand).value.index] = true
    }
    var state = [Int?](repeating: nil, count: values)
    var updates: [Int: (call: Int, value: Int)] = [:]
    for (value, states) in lowered.assignedStates {
      guard let maker = makers[value.index], lowered.mayWriteStates(calls[maker]),
        let target = states.first(where: {
          !reads[maker].contains($0.index) || takesOver[value.index].contains($0.index)
        })
      else { continue }
      state[value.index] = target.index
      updates[target.index] = (maker, value.index)
    }

    var followers = [[Int]](repeating: [], count: calls.count + 1)
    var waitsFor = [Int](repeating: 0, count: calls.count + 1)
    func add(_ earlier: Int, before later: Int) {
      followers[earlier].append(later)
      waitsFor[later] += 1
    }
    for (index, roots) in reads.enumerated() {
      for maker in Set(roots.compactMap { makers[$0] }).sorted() { add(maker, before: index) }
    }
    if updatesInPlace {
      for (target, update) in updates {
        for reader in readers[target] where reader < update.call {
          add(reader, before: update.call)
        }
      }
    }
    if lowered.hasCondition, calls.contains(where: { $0.role == .watched }) {
      let assigned = Set(lowered.assignedStates.keys)
      for (index, call) in calls.enumerated() {
        if call.role == .watched {
          add(index, before: calls.count)
        } else if call.role == .none, call.results.contains(where: assigned.contains) {
          add(calls.count, before: index)
        }
      }
    }
    self.reads = reads
    self.readers = readers
    self.bytes = bytes
    self.isKept = isKept
    self.state = state
    self.updates = updates
    self.takesOver = takesOver
    self.followers = followers
    self.waitsFor = waitsFor
  }

  /// Which calls can run, as others do.
  struct Readiness {
    private let followers: [[Int]]
    private var waitsFor: [Int]

    fileprivate init(_ graph: CallGraph) {
      followers = graph.followers
      waitsFor = graph.waitsFor
    }

    /// The calls that wait for none.
    var first: [Int] { waitsFor.indices.dropLast().filter { waitsFor[$0] == 0 } }

    /// The calls that waited for this one alone.
    mutating func finish(_ call: Int) -> [Int] {
      var ready: [Int] = []
      for follower in followers[call] {
        waitsFor[follower] -= 1
        guard waitsFor[follower] == 0 else { continue }
        // The condition is no call: what waits for it can go on at once.
        if follower == waitsFor.count - 1 {
          ready += finish(follower)
        } else {
          ready.append(follower)
        }
      }
      return ready
    }
  }

  var readiness: Readiness { Readiness(self) }
}

/// What a call says of results in the memory of its operands, by what is asked: it may have thousands.
struct InPlacePlaces {
  /// By result: the operands whose place it may take, in the call's order.
  private var places: [Int: [Int]] = [:]
  /// By operand: its root.
  private var roots: [ValueID] = []
  /// By root: the operands that read it, and whether all read it from the start on as it lies.
  private var operands: [ValueID: (indices: [Int], areWhole: Bool)] = [:]

  init(_ call: LoweredGraph.Call, _ lowered: LoweredGraph) {
    for pair in call.call.inPlace where call.operands.indices.contains(pair.operand) {
      places[pair.result, default: []].append(pair.operand)
    }
    for (index, operand) in call.operands.enumerated() {
      let root = lowered.root(operand)
      let isWhole = root.offset == 0 && (operand.view?.isContiguous ?? true)
      roots.append(root.value)
      let known = operands[root.value] ?? ([], true)
      operands[root.value] = (known.indices + [index], known.areWhole && isWhole)
    }
  }

  /// The roots that are read, each once.
  var distinctRoots: [Int] { operands.keys.map(\.index).sorted() }

  func reads(_ root: ValueID) -> Bool { operands[root] != nil }

  /// The roots over which a result may be written as the call goes along.
  func roots(for result: Int) -> [ValueID] {
    guard let places = places[result] else { return [] }
    var seen: Set<ValueID> = []
    return places.map { roots[$0] }.filter { root in
      let readers = operands[root]!
      return readers.areWhole && readers.indices.allSatisfy(places.contains)
        && seen.insert(root).inserted
    }
  }
}

extension LoweredGraph {
  /// The states that are assigned each root, with nothing in between but a name.
  var assignedStates: [ValueID: [ValueID]] {
    var states: [ValueID: [ValueID]] = [:]
    for assignment in graph.assignments {
      let root = root(assignment.operand)
      if root.offset == 0,
        graph.type(of: root.value).byteCount == graph.type(of: assignment.state).byteCount
      {
        states[root.value, default: []].append(assignment.state)
      }
    }
    return states
  }
}
