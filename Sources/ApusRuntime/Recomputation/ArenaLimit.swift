// The plan that keeps a limit of memory: the first along the way of `Recomputation` whose arena fits.
//
// A smaller limit never raises the peak. The way, and the arena at each place of it, do not depend on the limit;
// a smaller one only goes further. What it ends at has an arena no larger than that limit, and where the plan of a
// larger limit fits the smaller one too, both end at the same place. Costs are those of the kind of processor, not
// measured, so that two processes end at the same place as well.

import ApusGraph

/// A limit of the arena.
struct ArenaLimit {
  private let bytes: Int
  private let rates: ProcessorRates
  private let threads: Int

  /// - Throws: `invalidArgument` for a negative limit.
  init(_ bytes: Int, isa: ISA, threads: Int) throws {
    guard bytes >= 0 else {
      throw ApusError(
        .invalidArgument, "a memory limit of \(bytes) bytes", expected: "0 bytes or more, or nil")
    }
    self.bytes = bytes
    rates = .nominal(isa)
    self.threads = threads
  }

  /// Calls in an order, and their memory.
  typealias Ordered = (calls: LoweredGraph, memory: MemoryPlan)

  /// The calls in order, some of them repeated, and a memory that is within the limit; nil where that is so
  /// already.
  ///
  /// - `unlimited`: the memory of the plan that does not look at the limit.
  /// - Throws: `resource` where nothing brings the arena below the limit.
  func plan(_ given: LoweredGraph, instead unlimited: MemoryPlan) throws -> Ordered? {
    if unlimited.report.arena <= bytes { return nil }
    var (start, _) = CallOrder.forLittleMemory(given)
    if start.isCollective { start = start.reordered(AllReduceOrder.order(start)) }
    let footprint = MemoryPlan(start).report.footprint
    var way = Recomputation(start, CostModel(rates, threads: threads, footprint: footprint))
    /// The last places: the least arena is that of one that needs about as little as the last.
    var ends: [Recomputation] = []
    repeat {
      if way.peak <= bytes {
        let plain = MemoryPlan(way.lowered)
        if plain.report.arena <= bytes {
          var found = faster(way, plain, footprint) ?? (way.lowered, plain)
          found.memory.noteRecomputed(found.calls, unlimited: unlimited)
          return found
        }
      }
      ends.removeAll { $0.peak > way.peak + way.peak / 20 }
      ends.append(way)
    } while way.advance()
    throw error(ends)
  }

  /// The calls of a place on the way in an order with fewer barriers, where its arena is within the limit too.
  private func faster(_ way: Recomputation, _ plain: MemoryPlan, _ footprint: Int) -> Ordered? {
    guard
      var found = CallOrder.withFewBarriers(
        way.lowered, plain, peak: way.peak, rates: rates, threads: threads, footprint: footprint)
    else { return nil }
    // Should it take less by luck, it takes what the place takes: else a smaller limit, which passes over the
    // place, might end at a plan that takes more.
    found.1.widen(to: plain.report.arena)
    return found.1.report.arena <= bytes ? found : nil
  }

  private func error(_ ends: [Recomputation]) -> ApusError {
    var least = Int.max
    for way in ends.reversed() where way.peak < least {
      least = min(least, MemoryPlan(way.lowered).report.arena)
    }
    let end = ends[ends.count - 1], peak = end.lowered.calls[end.peakPlace]
    let largest = end.largestAtPeak(5).map { bytes, call in
      let place = call.origins.first?.description ?? ""
      let type = call.results.first.map { " \(end.lowered.graph.type(of: $0))" } ?? ""
      return "\n    \(bytes) of \(call.mnemonic)\(type)" + (place.isEmpty ? "" : " at \(place)")
    }
    return ApusError(
      .resource,
      "a memory limit of \(bytes) bytes cannot be kept: with all computed again that helps, the arena takes "
        + "\(least). Most is alive in \(peak.mnemonic):\(largest.joined())",
      at: peak.origins.first?.description,
      expected: "a limit of at least \(least) bytes, or a smaller batch")
  }
}
