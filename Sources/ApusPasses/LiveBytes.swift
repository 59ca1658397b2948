// How much memory is live at each point of an order of nodes, and orders that keep it low.
//
// Inputs, states and constants have memory of their own and count nothing. A result counts from its node
// on to its last reader; an output and an assigned value count to the end of the step, except an assigned
// value that can be written over its state: its node reads the state, as the last to do so.

import ApusGraph

/// A measure of orders of a graph's nodes.
///
///     LiveBytes(graph).peak()   // the least arena that could hold the graph's temporaries
package struct LiveBytes {
  /// A way to pick the next of the nodes that are ready.
  enum Strategy {
    /// The given order, but first any ready node that frees at least what it takes.
    case early
    /// The node that adds least to what is live.
    case greedy
  }

  /// The values each node reads and defines, each once, by index.
  private let operands: [[Int]]
  private let results: [[Int]]
  /// The nodes that wait for a node, and how many nodes each waits for.
  private var successors: [[Int]]
  private var waits: [Int]
  /// The nodes that read each value, each once.
  private let readers: [[Int]]
  private let readerCounts: [Int]
  /// Bytes of each value, 0 for those that have memory of their own.
  private let bytes: [Int]
  /// Values that live on after their last reader.
  private var isKept: [Bool]
  /// For a value that can be written over a state: that state's value.
  private var state: [Int?]
  /// By a state's value: the node whose result can be written over it, and that result.
  private var updates: [Int: (node: Int, result: Int)] = [:]

  package init(_ graph: Graph) {
    let definers = graph.definingNodes
    operands = graph.nodes.indices.map {
      Self.distinct(graph.nodes[$0].operands.map(\.value.index))
    }
    results = graph.nodes.indices.map { graph.nodes[$0].results.map(\.index) }
    readers = graph.readers
    readerCounts = readers.map(\.count)
    bytes = graph.types.indices.map { definers[$0] == nil ? 0 : graph.types[$0].byteCount }
    isKept = Array(repeating: false, count: bytes.count)
    state = Array(repeating: nil, count: bytes.count)
    successors = Array(repeating: [], count: operands.count)
    waits = Array(repeating: 0, count: operands.count)
    for (index, values) in operands.enumerated() {
      let definers = Self.distinct(values.compactMap { definers[$0] })
      waits[index] = definers.count
      for definer in definers { successors[definer].append(index) }
    }
    for assignment in graph.assignments {
      let value = assignment.operand.value.index, target = assignment.state.index
      if let definer = definers[value], !isKept[value], operands[definer].contains(target) {
        state[value] = target
      }
      isKept[value] = true
    }
    for output in graph.outputs {
      isKept[output.operand.value.index] = true
      state[output.operand.value.index] = nil
    }
    for (node, values) in results.enumerated() {
      for value in values {
        if let target = state[value] { updates[target] = (node, value) }
      }
    }
  }

  private static func distinct(_ numbers: [Int]) -> [Int] {
    numbers.count < 2 ? numbers : Set(numbers).sorted()
  }

  /// The highest number of bytes live while a node runs, in the graph's own order.
  package func peak() -> Int { peak(Array(operands.indices)) }

  func peak(_ order: [Int]) -> Int {
    var run = Run(self)
    for node in order { run.step(node) }
    return run.peak
  }

  /// An order in which the nodes can run.
  func schedule(_ strategy: Strategy) -> [Int] {
    var run = Run(self)
    var waits = waits
    var queue = RankQueue()
    /// By node: what it does to what is live; nil before it is ready and after it has run.
    var effects = [Run.Effect?](repeating: nil, count: operands.count)
    func offer(_ node: Int, _ effect: Run.Effect) {
      effects[node] = effect
      queue.insert(effect.rank(node, strategy))
    }
    for node in waits.indices where waits[node] == 0 { offer(node, run.effect(node)) }
    var order: [Int] = []
    order.reserveCapacity(operands.count)
    while let rank = queue.popLeast() {
      let node = rank.node
      // A node whose rank has changed since stands there twice.
      guard effects[node]?.rank(node, strategy) == rank else { continue }
      effects[node] = nil
      run.step(node)
      order.append(node)
      // Of the nodes that were ready, only the last reader of a value does otherwise than before: it frees
      // the value, and may write over it. As a node may read thousands, only the difference is worked out.
      for value in operands[node] where run.pending[value] == 1 {
        guard let last = readers[value].first(where: { !run.hasRun[$0] }),
          var effect = effects[last]
        else { continue }
        if !isKept[value] { effect.change -= run.taken[value] }
        if let update = updates[value], update.node == last {
          effect.change -= bytes[update.result]
          effect.blocked -= 1
        }
        offer(last, effect)
      }
      for successor in successors[node] {
        waits[successor] -= 1
        if waits[successor] == 0 { offer(successor, run.effect(successor)) }
      }
    }
    return order
  }

  /// What is live after some of the nodes have run.
  private struct Run {
    let graph: LiveBytes
    /// Readers of each value that have not run.
    var pending: [Int]
    /// Bytes that each live value takes.
    var taken: [Int]
    var hasRun: [Bool]
    var live = 0
    var peak = 0

    init(_ graph: LiveBytes) {
      self.graph = graph
      pending = graph.readerCounts
      taken = Array(repeating: 0, count: graph.bytes.count)
      hasRun = Array(repeating: false, count: graph.operands.count)
    }

    /// Whether `value`, a result of a node that has not run, would be written over its state now.
    private func isInPlace(_ value: Int) -> Bool {
      graph.state[value].map { pending[$0] == 1 } ?? false
    }

    mutating func step(_ node: Int) {
      hasRun[node] = true
      for value in graph.results[node] {
        taken[value] = isInPlace(value) ? 0 : graph.bytes[value]
        live += taken[value]
      }
      peak = max(peak, live)
      for value in graph.results[node] where pending[value] == 0 && !graph.isKept[value] {
        live -= taken[value]
      }
      for value in graph.operands[node] {
        pending[value] -= 1
        if pending[value] == 0 && !graph.isKept[value] { live -= taken[value] }
      }
    }

    /// Sorts ready nodes: the least goes first.
    struct Rank: Comparable {
      var isBlocked: Bool
      var change: Int
      var node: Int

      static func < (a: Rank, b: Rank) -> Bool {
        if a.isBlocked != b.isBlocked { return b.isBlocked }
        return a.change != b.change ? a.change < b.change : a.node < b.node
      }
    }

    /// What a ready node would do.
    struct Effect {
      /// Bytes that are live more than before.
      var change = 0
      /// New values of states that would be written over them if they waited for other readers.
      var blocked = 0

      func rank(_ node: Int, _ strategy: Strategy) -> Rank {
        switch strategy {
        case .early: Rank(isBlocked: blocked > 0, change: change <= 0 ? -1 : 0, node: node)
        case .greedy: Rank(isBlocked: blocked > 0, change: change, node: node)
        }
      }
    }

    func effect(_ node: Int) -> Effect {
      var effect = Effect()
      for value in graph.results[node] {
        let isInPlace = isInPlace(value)
        // A state's update waits for the state's other readers, so that it can be done in place.
        if graph.state[value] != nil && !isInPlace { effect.blocked += 1 }
        effect.change += isInPlace ? 0 : graph.bytes[value]
      }
      for value in graph.operands[node] where pending[value] == 1 && !graph.isKept[value] {
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
