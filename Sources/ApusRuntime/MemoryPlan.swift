// Where every value lives: in the arena, or in the memory of an input, a state or a constant.
//
// Lifetimes are in steps of the plan. Three savings come before packing: aliases (see `LoweredGraph`),
// results that take over the buffer of an operand that dies, and new values of states that are computed
// in the state's own memory.

import ApusGraph

/// A place in the memory that a plan works on.
package struct Place: Sendable, Hashable {
  /// Which memory.
  package enum Space: Sendable, Hashable {
    case arena
    case input(Int)
    case state(Int)
    case constant(Int)
    /// A form of a state that a kernel wants.
    case packed(Int)
  }
  package var space: Space
  /// Bytes from its start.
  package var offset: Int
}

/// What a plan needs in memory, in bytes.
public struct MemoryReport: Sendable, Hashable, Codable {
  /// The one block that holds all intermediate values and the kernels' shared workspace: what
  /// ``CompileOptions/memoryLimit`` limits.
  public var arena: Int
  /// What the arena would be without a limit.
  public var unlimitedArena: Int
  /// Values that are computed again rather than kept, for the limit's sake, in bytes: what backward makes a
  /// second time.
  public var recomputed = 0
  /// The largest sum of intermediate values and workspace needed at one time: no plan of the same order
  /// of steps can have a smaller arena.
  public var lowerBound: Int
  /// All intermediate values together, as if nothing were reused.
  public var values: Int
  public var states: Int
  /// Forms of states that kernels want, kept beside them.
  public var packed = 0
  public var constants: Int
  public var inputs: Int
  /// Each thread's own scratch.
  public var scratchPerThread: Int

  /// What a run goes through.
  package var footprint: Int { arena + states + packed + constants + inputs }
}

/// The memory of a lowered graph.
struct MemoryPlan: Sendable {
  /// By value; every value that a call reads or writes has one.
  private(set) var places: [Place?]
  /// The workspace of each call.
  private(set) var workspaces: [Place?]
  /// Assignments whose value is not computed in the state's own memory: from where, to which state.
  private(set) var copies: [(operand: Operand, state: Int)] = []
  private(set) var report: MemoryReport
  /// The arena's buffers, for tests and pictures.
  private(set) var buffers: [(interval: Interval, offset: Int)]

  mutating func notePacked(_ bytes: Int) { report.packed = bytes }

  /// Lets the arena have at least so many bytes.
  mutating func widen(to bytes: Int) { report.arena = max(report.arena, bytes) }

  /// Notes what a limit has changed.
  mutating func noteRecomputed(_ lowered: LoweredGraph, unlimited: MemoryPlan) {
    report.unlimitedArena = unlimited.report.arena
    report.recomputed = lowered.calls.lazy.filter(\.isRepeated).flatMap(\.results)
      .reduce(0) { $0 + lowered.graph.type(of: $1).byteCount }
  }

  /// - `keptUntil`: by call, how long at least its buffers stay reserved: until the last call before
  ///   the threads meet. What is reused before would make them meet for the memory's sake. Nil where that
  ///   does not matter.
  init(_ lowered: LoweredGraph, keptUntil: [Int]? = nil) {
    var builder = BufferAssignment(lowered)
    builder.assignAll()
    let intervals = builder.intervals.map { interval in
      var interval = interval
      if let keptUntil, interval.last < keptUntil.count { interval.last = keptUntil[interval.last] }
      return interval
    }
    let packing = ArenaPacking(intervals)
    buffers = zip(intervals, packing.offsets).map { ($0, $1) }
    func place(_ home: BufferAssignment.Home) -> Place {
      switch home {
      case .buffer(let index): Place(space: .arena, offset: packing.offsets[index])
      case .outside(let space): Place(space: space, offset: 0)
      }
    }
    places = lowered.roots.map { root in
      builder.homes[root.value.index].map {
        let base = place($0)
        return Place(space: base.space, offset: base.offset + root.offset)
      }
    }
    workspaces = builder.workspaces.map { $0.map { place(.buffer($0)) } }
    copies = builder.copies
    let graph = lowered.graph
    func bytes(_ values: [ValueID]) -> Int {
      values.reduce(0) { $0 + graph.type(of: $1).byteCount }
    }
    report = MemoryReport(
      arena: packing.total, unlimitedArena: packing.total,
      lowerBound: ArenaPacking.lowerBound(intervals),
      values: bytes(lowered.calls.flatMap(\.results)), states: bytes(graph.states.map(\.value)),
      constants: bytes(graph.constants.map(\.value)), inputs: bytes(graph.inputs.map(\.value)),
      scratchPerThread: lowered.calls.map(\.call.scratchBytesPerThread).max() ?? 0)
  }
}

/// Gives each root value a home, call by call.
private struct BufferAssignment {
  enum Home: Hashable {
    case buffer(Int)
    case outside(Place.Space)
  }

  let lowered: LoweredGraph
  /// By value; only roots have one.
  var homes: [Home?]
  var intervals: [Interval] = []
  var workspaces: [Int?] = []
  var copies: [(operand: Operand, state: Int)] = []
  /// The last step that reads each root; `end` for what is read after the last, -1 for nothing.
  private var lastReads: [Int]
  private let end: Int
  private let assignedStates: [ValueID: [ValueID]]
  /// States whose new value is computed in place.
  private var updated: Set<ValueID> = []

  init(_ lowered: LoweredGraph) {
    self.lowered = lowered
    let graph = lowered.graph
    end = lowered.calls.count
    assignedStates = lowered.assignedStates
    homes = [Home?](repeating: nil, count: graph.types.count)
    lastReads = [Int](repeating: -1, count: graph.types.count)
    for (index, input) in graph.inputs.enumerated() {
      homes[input.value.index] = .outside(.input(index))
    }
    for (index, state) in graph.states.enumerated() {
      homes[state.value.index] = .outside(.state(index))
    }
    for (index, constant) in graph.constants.enumerated() {
      homes[constant.value.index] = .outside(.constant(index))
    }
    for (step, call) in lowered.calls.enumerated() {
      for operand in call.operands { lastReads[lowered.root(operand).value.index] = step }
    }
    for operand in graph.outputs.map(\.operand) + graph.assignments.map(\.operand) {
      lastReads[lowered.root(operand).value.index] = end
    }
  }

  mutating func assignAll() {
    for (step, call) in lowered.calls.enumerated() {
      if call.call.workspaceBytes > 0 {
        workspaces.append(newBuffer(call.call.workspaceBytes, step, step))
      } else {
        workspaces.append(nil)
      }
      var taken: Set<Home> = []
      let places = InPlacePlaces(call, lowered)
      for (result, value) in call.results.enumerated() {
        let home =
          (lowered.mayWriteStates(call) ? stateHome(value, result, step, places) : nil)
          ?? dyingHome(value, result, step, places, taken)
          ?? .buffer(
            newBuffer(
              lowered.graph.type(of: value).byteCount, step,
              max(step, lastReads[value.index])))
        homes[value.index] = home
        taken.insert(home)
      }
    }
    let graph = lowered.graph
    for assignment in graph.assignments {
      guard let state = lowered.stateNumbers[assignment.state] else { continue }
      let root = lowered.root(assignment.operand)
      if homes[root.value.index] == .outside(.state(state)) && root.offset == 0 { continue }
      copies.append((assignment.operand, state))
    }
  }

  private mutating func newBuffer(_ bytes: Int, _ first: Int, _ last: Int) -> Int {
    intervals.append(Interval(bytes: bytes, first: first, last: last))
    return intervals.count - 1
  }

  /// The memory of a state that is assigned `value`, where nobody needs the old value any more.
  private mutating func stateHome(
    _ value: ValueID, _ result: Int, _ step: Int, _ places: InPlacePlaces
  ) -> Home? {
    for state in assignedStates[value] ?? [] where !updated.contains(state) {
      guard let home = homes[state.index], lastReads[state.index] <= step,
        !places.reads(state) || places.roots(for: result).contains(state)
      else { continue }
      updated.insert(state)
      return home
    }
    return nil
  }

  /// The buffer of an operand that this call is the last to read.
  private mutating func dyingHome(
    _ value: ValueID, _ result: Int, _ step: Int, _ places: InPlacePlaces, _ taken: Set<Home>
  ) -> Home? {
    let bytes = lowered.graph.type(of: value).byteCount
    for root in places.roots(for: result) {
      guard case .buffer(let buffer)? = homes[root.index],
        lastReads[root.index] == step,
        intervals[buffer].last == step,
        ArenaPacking.aligned(intervals[buffer].bytes) == ArenaPacking.aligned(bytes),
        !taken.contains(.buffer(buffer))
      else { continue }
      intervals[buffer].bytes = max(intervals[buffer].bytes, bytes)
      intervals[buffer].last = max(step, lastReads[value.index])
      return .buffer(buffer)
    }
    return nil
  }
}
