// Where a plan speaks to other processes: sums are begun as soon as what goes into them is there, and waited for
// when there is nothing else left to do.
//
//     g2 = …                                g2 = …
//     g1 = …                                b2 = all_reduce_start(g2)
//     b2 = all_reduce_start(g2)             g1 = …                     (b2 is under way)
//     s2 = all_reduce_end(b2)         =>    b1 = all_reduce_start(g1)
//     b1 = all_reduce_start(g1)             s2 = all_reduce_end(b2)
//     s1 = all_reduce_end(b1)               …
//     …                                     s1 = all_reduce_end(b1)
//
// Beginnings keep the order in which they were recorded, whatever else is moved: all processes must come to them in
// one order, and measured costs, which decide about other orders, differ from process to process.

import ApusGraph
import ApusOps
import CKernels

extension LoweredGraph {
  /// Whether calls speak to other processes.
  var isCollective: Bool { calls.contains { $0.call.isCollective } }
}

/// An order of calls for the sake of what other processes send.
enum AllReduceOrder {
  /// The calls of a graph, so ordered; those that speak to nobody stay in their order where they can.
  static func order(_ lowered: LoweredGraph) -> [Int] {
    let graph = CallGraph(lowered, updatesInPlace: true)
    var readiness = graph.readiness
    /// By call that speaks to others: its place among those of its kind as they were recorded.
    let starts = lowered.calls.indices.filter { lowered.isStart($0) }
      .sorted { lowered.number($0) < lowered.number($1) }
    /// Calls that make what goes into a bucket: they come before all that is ready with them.
    let feeders = Set(starts.flatMap { graph.reads[$0] })
    let feeds = graph.makes.map { $0.contains(where: feeders.contains) }
    var nextStart = 0
    var readyStarts: Set<Int> = []
    var others = OrderedCalls(), ends = OrderedCalls()
    func offer(_ call: Int) {
      if lowered.isStart(call) {
        readyStarts.insert(call)
      } else if lowered.calls[call].call.isCollective {
        ends.insert(call, rank: lowered.number(call))
      } else {
        others.insert(call, rank: feeds[call] ? call - graph.count : call)
      }
    }
    for call in readiness.first { offer(call) }
    var order: [Int] = []
    order.reserveCapacity(lowered.calls.count)
    while true {
      let call: Int
      if nextStart < starts.count, readyStarts.contains(starts[nextStart]) {
        call = starts[nextStart]
        nextStart += 1
      } else if let next = others.popFirst() ?? ends.popFirst() {
        call = next
      } else {
        break
      }
      order.append(call)
      for follower in readiness.finish(call) { offer(follower) }
    }
    return order
  }
}

extension LoweredGraph {
  /// Whether a call begins a sum: it makes a bucket that another takes back.
  fileprivate func isStart(_ call: Int) -> Bool {
    calls[call].call.isCollective && calls[call].mnemonic == AllReduceStart.mnemonic
  }

  /// The number of its bucket: of the order of recording, which passes do not keep.
  fileprivate func number(_ call: Int) -> Int {
    calls[call].call.arguments.withUnsafeBytes {
      Int(
        $0.loadUnaligned(
          fromByteOffset: MemoryLayout<ck_allreduce_args>.offset(of: \.number)!, as: Int64.self))
    }
  }
}

/// Ready calls, the one of least rank first.
private struct OrderedCalls {
  /// The last is the first to go.
  private var calls: [(rank: Int, call: Int)] = []

  mutating func insert(_ call: Int, rank: Int) {
    var low = 0, high = calls.count
    while low < high {
      let middle = (low + high) / 2
      if calls[middle].rank > rank { low = middle + 1 } else { high = middle }
    }
    calls.insert((rank, call), at: low)
  }

  mutating func popFirst() -> Int? { calls.popLast()?.call }
}
