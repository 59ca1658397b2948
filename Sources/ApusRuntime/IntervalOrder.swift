// The order of a plan's calls, so that fewer barriers stand between them: calls that need nothing from
// other threads come together between two barriers, such as a chain of layers that each thread runs for
// its own rows of the batch, or the gradients of several weights.

import ApusGraph

/// List scheduling: the first ready call that needs no barrier comes next; where there is none, a barrier
/// and the first ready call.
///
/// The order must not cost memory worth speaking of: what is alive at one time grows by no more than
/// `slack`, and the arena neither, or else the order stays.
struct IntervalOrder {
  /// Bytes: a part of one core's second-level cache.
  private static let slack = 256 << 10
  /// Of the ready calls, so many are looked at.
  private static let window = 16
  /// Plans of more calls keep their order: their steps take long beside a barrier, and the search would
  /// double what planning them takes.
  private static let mostCalls = 2000

  /// The calls in an order for a team, and their memory.
  static func ordered(
    _ lowered: LoweredGraph, isa: ISA, threads: Int
  ) -> (LoweredGraph, MemoryPlan) {
    let memory = MemoryPlan(lowered)
    guard threads > 1, lowered.calls.count > 2, lowered.calls.count <= mostCalls else {
      return (lowered, memory)
    }
    var search = IntervalOrder(lowered)
    let order = search.order(ScheduleBuilder(CostModel(isa: isa), threads: threads))
    let other = lowered.reordered(order.calls)
    let otherMemory = MemoryPlan(other, keptUntil: order.ends)
    let isWorthIt =
      otherMemory.report.arena <= memory.report.arena + slack
      && otherMemory.copies.count <= memory.copies.count
    return isWorthIt ? (other, otherMemory) : (lowered, memory)
  }

  private let steps: [Plan.Step]
  /// By call: what must come before, and what may come after.
  private var waitsFor: [Int]
  private var followers: [[Int]]
  /// By call: the roots it reads and the bytes it makes.
  private let reads: [Set<Int>]
  private let madeBytes: [[(root: Int, bytes: Int)]]
  /// Calls that make what the condition watches, and those that write states under it.
  private var watched: Set<Int> = []
  private var writers: [Int] = []
  /// By root: calls that are still to read it, and one more where it is read after the last.
  private var readers: [Int: Int] = [:]

  private init(_ lowered: LoweredGraph) {
    let graph = lowered.graph
    // Each value in a memory of its own: no bytes are shared by accident.
    let builder = StepBuilder(
      lowered: lowered,
      places: lowered.roots.map { Place(space: .constant($0.value.index), offset: $0.offset) },
      names: ValueNames(graph))
    steps = lowered.calls.map { builder.step($0, workspace: nil) }
    reads = lowered.calls.map { call in Set(call.operands.map { lowered.root($0).value.index }) }
    let outside = Set((graph.inputs.map(\.value) + graph.states.map(\.value)).map(\.index))
    var stateOf: [Int: Int] = [:]
    for assignment in graph.assignments {
      stateOf[lowered.root(assignment.operand).value.index] = assignment.state.index
    }
    madeBytes = lowered.calls.map { call in
      call.results.compactMap { value in
        // New values of states mostly go to the states' own memory.
        stateOf[value.index] == nil
          ? (value.index, graph.type(of: value).byteCount) : nil
      }
    }
    waitsFor = Array(repeating: 0, count: steps.count)
    followers = Array(repeating: [], count: steps.count)
    var writer: [Int: Int] = [:]
    var readersSoFar: [Int: [Int]] = [:]
    for (index, call) in lowered.calls.enumerated() {
      // After the calls that made what it reads, and, where it makes a state's new value, after those that
      // read the old one: then it can be made in place.
      var before = Set(reads[index].compactMap { writer[$0] })
      for value in call.results {
        if let state = stateOf[value.index] { before.formUnion(readersSoFar[state] ?? []) }
      }
      before.remove(index)
      waitsFor[index] = before.count
      if call.role == .watched { watched.insert(index) }
      if call.role == .none, lowered.hasCondition,
        call.results.contains(where: { stateOf[$0.index] != nil })
      {
        writers.append(index)
      }
      for earlier in before { followers[earlier].append(index) }
      for value in call.results { writer[value.index] = index }
      for root in reads[index] {
        readersSoFar[root, default: []].append(index)
        if !outside.contains(root) { readers[root, default: 0] += 1 }
      }
    }
    // What the condition watches comes before every call that writes a state.
    if !watched.isEmpty { for index in writers { waitsFor[index] += 1 } }
    for operand in graph.outputs.map(\.operand) + graph.assignments.map(\.operand) {
      readers[lowered.root(operand).value.index, default: 0] += 1
    }
  }

  /// Bytes alive while a call runs, and what it leaves alive.
  private struct Life {
    var live = 0
    var readers: [Int: Int]
    var bytes: [Int: Int] = [:]

    func peak(_ made: [(root: Int, bytes: Int)]) -> Int { live + made.reduce(0) { $0 + $1.bytes } }

    mutating func run(reading roots: Set<Int>, making made: [(root: Int, bytes: Int)]) {
      for (root, count) in made {
        bytes[root] = count
        live += count
        if readers[root] == nil { end(root) }
      }
      for root in roots {
        guard let left = readers[root] else { continue }
        readers[root] = left - 1
        if left == 1 { end(root) }
      }
    }

    private mutating func end(_ root: Int) { live -= bytes.removeValue(forKey: root) ?? 0 }
  }

  /// The order, and by place in it the last place before the threads meet.
  private mutating func order(_ schedule: ScheduleBuilder) -> (calls: [Int], ends: [Int]) {
    var life = Life(readers: readers)
    var most = 0
    for index in steps.indices {
      most = max(most, life.peak(madeBytes[index]))
      life.run(reading: reads[index], making: madeBytes[index])
    }
    most += Self.slack
    life = Life(readers: readers)
    var schedule = schedule
    var ready = ReadyCalls(window: Self.window)
    for index in steps.indices where waitsFor[index] == 0 { ready.insert(index) }
    var order: [Int] = []
    while !ready.isEmpty {
      let place =
        ready.first.firstIndex {
          life.peak(madeBytes[$0]) <= most && schedule.goesOn(steps[$0])
        } ?? 0
      let index = ready.remove(at: place)
      schedule.add(steps[index])
      life.run(reading: reads[index], making: madeBytes[index])
      order.append(index)
      for follower in followers[index] {
        waitsFor[follower] -= 1
        if waitsFor[follower] == 0 { ready.insert(follower) }
      }
      if watched.remove(index) != nil, watched.isEmpty {
        for writer in writers {
          waitsFor[writer] -= 1
          if waitsFor[writer] == 0 { ready.insert(writer) }
        }
      }
    }
    var ends = Array(order.indices)
    for place in order.indices.dropLast().reversed() where schedule.entries[place].barrier == nil {
      ends[place] = ends[place + 1]
    }
    return (order, ends)
  }
}

/// Calls that are ready, the first few of them at hand in order.
private struct ReadyCalls {
  private(set) var first: [Int] = []
  /// A binary heap of the others.
  private var others: [Int] = []
  private let window: Int

  init(window: Int) { self.window = window }

  var isEmpty: Bool { first.isEmpty }

  mutating func insert(_ call: Int) {
    guard first.count == window, let last = first.last, call > last else {
      first.insert(call, at: first.firstIndex { $0 > call } ?? first.count)
      if first.count > window { push(first.removeLast()) }
      return
    }
    push(call)
  }

  mutating func remove(at place: Int) -> Int {
    let call = first.remove(at: place)
    if let next = pop() { first.append(next) }
    return call
  }

  private mutating func push(_ call: Int) {
    others.append(call)
    var place = others.count - 1
    while place > 0, others[place] < others[(place - 1) / 2] {
      others.swapAt(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
  }

  private mutating func pop() -> Int? {
    guard let least = others.first else { return nil }
    others.swapAt(0, others.count - 1)
    others.removeLast()
    var place = 0
    while 2 * place + 1 < others.count {
      var child = 2 * place + 1
      if child + 1 < others.count, others[child + 1] < others[child] { child += 1 }
      guard others[child] < others[place] else { break }
      others.swapAt(place, child)
      place = child
    }
    return least
  }
}
