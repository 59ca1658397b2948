// The order in which a plan's calls run: first for little memory, then, for a team, for few barriers.
//
// Finding the order with the least peak of live memory is NP-hard (Sethi 1975), so several are made and
// measured: the order as it came, that order with every call moved up that frees more than it takes (a state's
// update as soon as its gradient is there), and a greedy list schedule that always takes the ready call which
// adds least. The lowest peak wins; where nothing is gained, the order stays.
//
//     y = exp(x)                       y = exp(x)
//     z = x * x                        a = sum(y)
//     a = sum(y)              =>       z = x * x
//     b = sum(z)                       b = sum(z)
//
// An order with fewer barriers must not cost memory worth speaking of: what is live at one time grows by no
// more than `slack`, and the arena neither.

import ApusGraph

/// The choice of an order.
enum CallOrder {
  /// Bytes: a part of one core's second-level cache.
  private static let slack = 256 << 10
  /// Plans of more calls are not searched for barriers: their steps take long beside one, and the search would
  /// double what planning them takes.
  private static let mostCalls = 2000

  /// The calls in an order for a team of `threads`, and their memory.
  static func ordered(
    _ given: LoweredGraph, rates: ProcessorRates, threads: Int
  ) -> (LoweredGraph, MemoryPlan) {
    let (lowered, peak) = forLittleMemory(given)
    if lowered.isCollective {
      let other = lowered.reordered(AllReduceOrder.order(lowered))
      return (other, MemoryPlan(other))
    }
    let memory = MemoryPlan(lowered)
    return withFewBarriers(
      lowered, memory, peak: peak, rates: rates, threads: threads,
      footprint: memory.report.footprint) ?? (lowered, memory)
  }

  /// The calls in an order with fewer barriers, and its memory; nil where that would cost memory, or is not
  /// worth the search.
  ///
  /// - `memory`, `peak`: of the calls as they are ordered now.
  /// - `footprint`: bytes that a run goes through.
  static func withFewBarriers(
    _ lowered: LoweredGraph, _ memory: MemoryPlan, peak: Int, rates: ProcessorRates, threads: Int,
    footprint: Int
  ) -> (LoweredGraph, MemoryPlan)? {
    guard threads > 1, lowered.calls.count > 2, lowered.calls.count <= mostCalls,
      !lowered.isCollective
    else { return nil }
    let model = CostModel(rates, threads: threads, footprint: footprint)
    let order = BarrierOrder(
      lowered, ScheduleBuilder(model, threads: threads), mostLive: peak + slack)
    let other = lowered.reordered(order.calls)
    let otherMemory = MemoryPlan(other, keptUntil: order.ends)
    let isWorthIt =
      otherMemory.report.arena <= memory.report.arena + slack
      && otherMemory.copies.count <= memory.copies.count
    return isWorthIt ? (other, otherMemory) : nil
  }

  /// The calls in the order with the lowest peak of those tried, and that peak.
  static func forLittleMemory(_ given: LoweredGraph) -> (LoweredGraph, peak: Int) {
    let live = LiveBytes(CallGraph(given, updatesInPlace: false))
    var best: [Int]?
    var peak = live.peak(given.calls.indices)
    for order in [live.schedule(.early), live.schedule(.greedy)] {
      let candidate = live.peak(order)
      if candidate < peak { (best, peak) = (order, candidate) }
    }
    return (best.map(given.reordered) ?? given, peak)
  }
}
