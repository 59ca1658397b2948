// Orders the nodes for the least peak of live memory.
//
// Assumes: nothing.
// Guarantees: the same nodes in an order in which they can run; the peak of live bytes, as `LiveBytes`
// measures it, is no higher than before.
//
// Finding the best order is NP-hard (Sethi 1975), so several are made and measured: the order as it came,
// that order with every node moved up that frees more than it takes (a state's update as soon as its
// gradient is there), and a greedy list schedule that always takes the ready node which adds least. The
// lowest peak wins; where nothing is gained, the order stays.
//
//     %1 = exp(%0) : f64[8]                       %1 = exp(%0) : f64[8]
//     %2 = exp(%1) : f64[8]                       %2 = sum(%1) : f64[]
//     %3 = sum(%1) : f64[]              =>        %3 = exp(%0) : f64[8]
//     %4 = sum(%2) : f64[]                        %4 = sum(%3) : f64[]

import ApusGraph

/// Reorders nodes so that less memory is live at once.
package struct Order: Pass {
  package static let name = "order"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    let live = LiveBytes(graph)
    let given = Array(graph.nodes.indices)
    let before = live.peak(given)
    var best = given
    var peak = before
    for order in [live.schedule(.early), live.schedule(.greedy)] {
      let candidate = live.peak(order)
      if candidate < peak { (best, peak) = (order, candidate) }
    }
    guard best != given else { return [:] }
    let nodes = graph.nodes
    graph.nodes = best.map { nodes[$0] }
    graph.compact()
    return ["bytes": before - peak, "moved": zip(best, given).count { $0 != $1 }]
  }
}
