// How much memory is live at each point of an order of calls, and orders that keep it low.
//
// Inputs, states and constants have memory of their own and count nothing. A result counts from its call on to
// its last reader, or to the end where it is an output or a state's new value; nothing where it is written over
// a state, or takes over the memory of an operand that dies. Each call's workspace counts while it runs.

/// A measure of orders of calls.
struct LiveBytes {
  /// A way to pick the next of the calls that are ready.
  enum Strategy {
    /// The given order, but first any ready call that frees at least what it takes.
    case early
    /// The call that adds least to what is live.
    case greedy
  }

  private let graph: CallGraph

  init(_ graph: CallGraph) { self.graph = graph }

  /// The highest number of bytes live while a call runs: no arena that holds this order can be smaller.
  func peak(_ order: some Sequence<Int>) -> Int {
    var run = Run(graph)
    for call in order { run.step(call) }
    return run.peak
  }

  /// By place in the order: the bytes live while that call runs.
  func profile(_ order: some Sequence<Int>) -> [Int] {
    var run = Run(graph)
    return order.map { call in
      run.step(call)
      return run.during
    }
  }

  /// An order in which the calls can run.
  func schedule(_ strategy: Strategy) -> [Int] {
    var run = Run(graph)
    var readiness = graph.readiness
    var queue = RankQueue()
    /// By call: what it does to what is live; nil before it is ready and after it has run.
    var effects = [Run.Effect?](repeating: nil, count: graph.count)
    func offer(_ call: Int, _ effect: Run.Effect) {
      effects[call] = effect
      queue.insert(effect.rank(call, strategy))
    }
    for call in readiness.first { offer(call, run.effect(call)) }
    var order: [Int] = []
    order.reserveCapacity(graph.count)
    while let rank = queue.popLeast() {
      let call = rank.call
      // A call whose rank has changed since stands there twice.
      guard effects[call]?.rank(call, strategy) == rank else { continue }
      effects[call] = nil
      run.step(call)
      order.append(call)
      // Of the calls that were ready, few do otherwise than before: the last reader of a value frees it, and
      // the update of a state that only it still reads may write over it. As a call may read thousands, only
      // the difference is worked out.
      for value in graph.reads[call] {
        if run.pending[value] == 1, !graph.isKept[value],
          let last = graph.readers[value].first(where: { !run.hasRun[$0] }),
          var effect = effects[last]
        {
          effect.change -= run.taken[value]
          offer(last, effect)
        }
        if let update = graph.updates[value], var effect = effects[update.call],
          effect.blocked.contains(update.value), run.isOverState(update.value)
        {
          effect.blocked.removeAll { $0 == update.value }
          effect.change -= graph.bytes[update.value]
          offer(update.call, effect)
        }
      }
      for follower in readiness.finish(call) { offer(follower, run.effect(follower)) }
    }
    return order
  }

  /// What is live after some of the calls have run.
  struct Run {
    private let graph: CallGraph
    /// Readers of each root that have not run.
    private(set) var pending: [Int]
    /// Bytes that each live root takes.
    private(set) var taken: [Int]
    private(set) var hasRun: [Bool]
    private var live = 0
    private(set) var peak = 0
    /// Bytes that were live while the last call ran.
    private(set) var during = 0

    init(_ graph: CallGraph) {
      self.graph = graph
      pending = graph.readers.map(\.count)
      taken = Array(repeating: 0, count: graph.bytes.count)
      hasRun = Array(repeating: false, count: graph.count)
    }

    /// Whether `value`, made by a call that has not run, would be written over its state now: nobody else is
    /// still to read the old value.
    func isOverState(_ value: Int) -> Bool {
      guard let state = graph.state[value], let update = graph.updates[state] else { return false }
      let own = graph.reads[update.call].contains(state) ? 1 : 0
      return pending[state] == own
    }

    /// Where a call puts what it makes: the operands whose memory each result takes over, nil where it needs
    /// some of its own.
    private func homes(_ call: Int) -> [(value: Int, from: Int?)] {
      var gone: [Int] = []
      return graph.makes[call].compactMap { value in
        if isOverState(value) { return nil }
        let size = ArenaPacking.aligned(graph.bytes[value])
        let from = graph.takesOver[value].first { root in
          pending[root] == 1 && !graph.isKept[root] && graph.bytes[root] > 0
            && ArenaPacking.aligned(taken[root]) == size && !gone.contains(root)
        }
        if let from { gone.append(from) }
        return (value, from)
      }
    }

    /// The bytes that would be live while a call runs, were it the next.
    func peak(during call: Int) -> Int {
      homes(call).reduce(live + graph.workspaces[call]) { sum, home in
        sum
          + (home.from.map { max(0, graph.bytes[home.value] - taken[$0]) }
            ?? graph.bytes[home.value])
      }
    }

    mutating func step(_ call: Int) {
      for (value, from) in homes(call) {
        let held = from.map { taken[$0] } ?? 0
        taken[value] = max(held, graph.bytes[value])
        live += taken[value] - held
        if let from { taken[from] = 0 }
      }
      hasRun[call] = true
      during = live + graph.workspaces[call]
      peak = max(peak, during)
      for value in graph.makes[call] where pending[value] == 0 && !graph.isKept[value] {
        live -= taken[value]
      }
      for value in graph.reads[call] {
        pending[value] -= 1
        if pending[value] == 0 && !graph.isKept[value] { live -= taken[value] }
      }
    }

    /// Sorts ready calls: the least goes first.
    struct Rank: Comparable {
      var isBlocked: Bool
      var change: Int
      var call: Int

      static func < (a: Rank, b: Rank) -> Bool {
        if a.isBlocked != b.isBlocked { return b.isBlocked }
        return a.change != b.change ? a.change < b.change : a.call < b.call
      }
    }

    /// What a ready call would do.
    struct Effect {
      /// Bytes that are live more than before.
      var change = 0
      /// New values of states that would be written over them if they waited for other readers.
      var blocked: [Int] = []

      func rank(_ call: Int, _ strategy: Strategy) -> Rank {
        let isBlocked = !blocked.isEmpty
        return switch strategy {
        case .early: Rank(isBlocked: isBlocked, change: change <= 0 ? -1 : 0, call: call)
        case .greedy: Rank(isBlocked: isBlocked, change: change, call: call)
        }
      }
    }

    func effect(_ call: Int) -> Effect {
      var effect = Effect()
      for value in graph.makes[call] {
        let isInPlace = isOverState(value)
        if graph.state[value] != nil && !isInPlace { effect.blocked.append(value) }
        effect.change += isInPlace ? 0 : graph.bytes[value]
      }
      for value in graph.reads[call] where pending[value] == 1 && !graph.isKept[value] {
        effect.change -= taken[value]
      }
      return effect
    }
  }

  /// A binary heap.
  private struct RankQueue {
    private var heap: [Run.Rank] = []

    mutating func insert(_ rank: Run.Rank) {
      var place = heap.count
      heap.append(rank)
      while place > 0, rank < heap[(place - 1) / 2] {
        heap[place] = heap[(place - 1) / 2]
        place = (place - 1) / 2
      }
      heap[place] = rank
    }

    mutating func popLeast() -> Run.Rank? {
      guard let least = heap.first, let moved = heap.popLast() else { return nil }
      guard !heap.isEmpty else { return least }
      var place = 0
      while true {
        var child = 2 * place + 1
        guard child < heap.count else { break }
        if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
        guard heap[child] < moved else { break }
        heap[place] = heap[child]
        place = child
      }
      heap[place] = moved
      return least
    }
  }
}
