// How much memory is live at each point of an order of nodes, and orders that keep it low.
//
// Inputs, states and constants have memory of their own and count nothing. A result counts from its node
// on to its last reader; an output and an assigned value count to the end of the step, except an assigned
// value that can be written over its state: its node reads the state, as the last to do so.

import ApusGraph

/// A measure of orders of a graph's nodes.
///
///     LiveBytes(graph).peak()   // the least arena that could hold the graph's temporaries
public struct LiveBytes {
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
  /// How many nodes read each value.
  private var readerCounts: [Int]
  /// Bytes of each value, 0 for those that have memory of their own.
  private let bytes: [Int]
  /// Values that live on after their last reader.
  private var isKept: [Bool]
  /// For a value that can be written over a state: that state's value.
  private var state: [Int?]

  public init(_ graph: Graph) {
    let definers = graph.definingNodes
    operands = graph.nodes.map { Array(Set($0.operands.map(\.value.index))) }
    results = graph.nodes.map { $0.results.map(\.index) }
    bytes = graph.types.indices.map { definers[$0] == nil ? 0 : graph.types[$0].byteCount }
    readerCounts = Array(repeating: 0, count: bytes.count)
    isKept = Array(repeating: false, count: bytes.count)
    state = Array(repeating: nil, count: bytes.count)
    successors = Array(repeating: [], count: operands.count)
    waits = Array(repeating: 0, count: operands.count)
    for (index, values) in operands.enumerated() {
      for value in values { readerCounts[value] += 1 }
      let definers = Set(values.compactMap { definers[$0] })
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
  }

  /// The highest number of bytes live while a node runs, in the graph's own order.
  public func peak() -> Int { peak(Array(operands.indices)) }

  func peak(_ order: [Int]) -> Int {
    var run = Run(self)
    for node in order { run.step(node) }
    return run.peak
  }

  /// An order in which the nodes can run.
  func schedule(_ strategy: Strategy) -> [Int] {
    var run = Run(self)
    var waits = waits
    var ready = waits.indices.filter { waits[$0] == 0 }
    var order: [Int] = []
    order.reserveCapacity(operands.count)
    while !ready.isEmpty {
      let position = ready.indices.min {
        run.rank(ready[$0], strategy) < run.rank(ready[$1], strategy)
      }!
      let node = ready.remove(at: position)
      run.step(node)
      order.append(node)
      for successor in successors[node] {
        waits[successor] -= 1
        if waits[successor] == 0 { ready.append(successor) }
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
    var live = 0
    var peak = 0

    init(_ graph: LiveBytes) {
      self.graph = graph
      pending = graph.readerCounts
      taken = Array(repeating: 0, count: graph.bytes.count)
    }

    /// Whether `value`, a result of a node that has not run, would be written over its state now.
    private func isInPlace(_ value: Int) -> Bool {
      graph.state[value].map { pending[$0] == 1 } ?? false
    }

    mutating func step(_ node: Int) {
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
    func rank(_ node: Int, _ strategy: Strategy) -> (Int, Int, Int) {
      var change = 0
      var isBlocked = false
      for value in graph.results[node] {
        // A state's update waits for the state's other readers, so that it can be done in place.
        if graph.state[value] != nil && !isInPlace(value) { isBlocked = true }
        change += isInPlace(value) ? 0 : graph.bytes[value]
      }
      for value in graph.operands[node] where pending[value] == 1 && !graph.isKept[value] {
        change -= taken[value]
      }
      switch strategy {
      case .early: return (isBlocked ? 1 : 0, change <= 0 ? -1 : 0, node)
      case .greedy: return (isBlocked ? 1 : 0, change, node)
      }
    }
  }
}
