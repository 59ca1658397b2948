// An order of calls with few barriers between them: calls that need nothing from other threads come together
// between two barriers, such as a chain of layers that each thread runs for its own rows of the batch, or the
// gradients of several weights.

import ApusGraph

/// List scheduling: the first ready call that needs no barrier comes next; where there is none, a barrier
/// and the first ready call.
struct BarrierOrder {
  /// Of the ready calls, so many are looked at.
  private static let window = 16

  /// An order of the calls.
  private(set) var calls: [Int] = []
  /// By place in it: the last place before the threads meet.
  private(set) var ends: [Int] = []

  /// - `lowered`: the calls in the order that counts where barriers do not.
  /// - `schedule`: an empty one, for the team.
  /// - `mostLive`: bytes that may be live at one time.
  init(_ lowered: LoweredGraph, _ schedule: ScheduleBuilder, mostLive: Int) {
    // Each value in a memory of its own: no bytes are shared by accident.
    let builder = StepBuilder(
      lowered: lowered,
      places: lowered.roots.map { Place(space: .constant($0.value.index), offset: $0.offset) },
      names: ValueNames(lowered.graph, copies: lowered.sources))
    let steps = lowered.calls.map { builder.step($0, workspace: nil) }
    let graph = CallGraph(lowered, updatesInPlace: true)
    var live = LiveBytes.Run(graph)
    var readiness = graph.readiness
    var schedule = schedule
    var ready = ReadyCalls(window: Self.window)
    for call in readiness.first { ready.insert(call) }
    while !ready.isEmpty {
      let place =
        ready.first.firstIndex {
          live.peak(during: $0) <= mostLive && schedule.goesOn(steps[$0])
            // What is made again is made late: it could be made as soon as the first time.
            && (!lowered.calls[$0].isRepeated || $0 == ready.first[0])
        } ?? 0
      let call = ready.remove(at: place)
      schedule.add(steps[call])
      live.step(call)
      calls.append(call)
      for follower in readiness.finish(call) { ready.insert(follower) }
    }
    ends = Array(calls.indices)
    for place in calls.indices.dropLast().reversed() where schedule.entries[place].barrier == nil {
      ends[place] = ends[place + 1]
    }
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
