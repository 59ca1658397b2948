// Where each buffer lies in the arena: dynamic storage allocation with known lifetimes.
//
// Best fit over several orders, the best kept, then improved by a short local search.
// Knows nothing of graphs. Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
// Inference" (2020), greedy by size; Robson (1971) for why no order is always best.

/// A buffer that is needed from step `first` to step `last`, both included.
struct Interval: Sendable, Hashable {
  var bytes: Int
  var first: Int
  var last: Int

  func overlaps(_ other: Interval) -> Bool { first <= other.last && other.first <= last }
}

/// Offsets for a list of intervals.
struct ArenaPacking: Sendable {
  /// All offsets are multiples of this: a cache line, and the widest vector.
  static let alignment = 64

  /// By interval.
  var offsets: [Int]
  /// Bytes from the start of the arena to the end of the highest buffer.
  var total: Int

  /// Packs `intervals` so that no two that are needed at one time overlap.
  ///
  /// - Complexity: O(n²) for each order tried, up to 4000 buffers. Of more, they are placed as they come,
  ///   in O(n log n); only where that leaves gaps, the largest first too, as far as few are needed at once.
  init(_ intervals: [Interval]) {
    let sizes = intervals.map { Self.aligned($0.bytes) }
    let bound = Self.lowerBound(intervals, sizes: sizes)
    if intervals.count > Self.mostSearched {
      (offsets, total) = Self.packMany(intervals, sizes, bound: bound)
      return
    }
    var orders = [Self.order(intervals) { (sizes[$0], intervals[$0].last - intervals[$0].first) }]
    orders += [
      Self.order(intervals) { (-intervals[$0].first, sizes[$0]) },
      Self.order(intervals) { (intervals[$0].last - intervals[$0].first, sizes[$0]) },
      Self.order(intervals) {
        (sizes[$0] * (1 + intervals[$0].last - intervals[$0].first), sizes[$0])
      },
      Self.order(intervals) { (intervals[$0].last, sizes[$0]) },
    ]
    var best: (packing: (offsets: [Int], total: Int), order: [Int])?
    for order in orders {
      let packing = Self.place(intervals, sizes, order)
      if packing.total < best?.packing.total ?? .max { best = (packing, order) }
      if Self.isGoodEnough(packing.total, bound) { break }
    }
    if let found = best, !Self.isGoodEnough(found.packing.total, bound) {
      best = Self.improve(found, intervals, sizes, bound: bound)
    }
    offsets = best?.packing.offsets ?? []
    total = best?.packing.total ?? 0
  }

  /// Buffers up to which several orders are tried.
  private static let mostSearched = 4000

  /// Local search: a buffer that stands highest, or one below it, moves to an earlier place in the order;
  /// what is no worse is kept. The same numbers in the same order on every machine.
  private static func improve(
    _ start: (packing: (offsets: [Int], total: Int), order: [Int]), _ intervals: [Interval],
    _ sizes: [Int], bound: Int
  ) -> (packing: (offsets: [Int], total: Int), order: [Int]) {
    var best = start
    var random: UInt64 = 1
    func draw(below limit: Int) -> Int {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(random >> 33) % limit
    }
    let attempts = min(max(2_000_000 / max(intervals.count * intervals.count, 1), 8), 400)
    for _ in 0..<attempts {
      let (offsets, total) = best.packing
      guard
        let highest = intervals.indices.first(where: {
          sizes[$0] > 0 && offsets[$0] + sizes[$0] == total
        })
      else { break }
      // Those that stand in its way: needed at the same time.
      let rivals = intervals.indices.filter { intervals[$0].overlaps(intervals[highest]) }
      let moved = draw(below: 2) == 0 ? highest : rivals[draw(below: rivals.count)]
      guard let position = best.order.firstIndex(of: moved) else { break }
      var order = best.order
      order.remove(at: position)
      order.insert(moved, at: draw(below: max(position, 1)))
      let packing = place(intervals, sizes, order)
      if packing.total <= total { best = (packing, order) }
      if isGoodEnough(packing.total, bound) { break }
    }
    return best
  }

  /// Within a hundredth of the bound.
  static func isGoodEnough(_ total: Int, _ bound: Int) -> Bool {
    total <= bound + bound / 100
  }

  static func aligned(_ bytes: Int) -> Int { (bytes + alignment - 1) / alignment * alignment }

  /// The largest sum of sizes needed at one time: no packing can be smaller.
  static func lowerBound(_ intervals: [Interval]) -> Int {
    lowerBound(intervals, sizes: intervals.map(\.bytes))
  }

  private static func lowerBound(_ intervals: [Interval], sizes: [Int]) -> Int {
    var change = [Int](repeating: 0, count: (intervals.map(\.last).max() ?? -1) + 2)
    for (interval, size) in zip(intervals, sizes) {
      change[interval.first] += size
      change[interval.last + 1] -= size
    }
    var live = 0, most = 0
    for delta in change {
      live += delta
      most = max(most, live)
    }
    return most
  }

  /// Indices sorted by a key, largest first; ties in index order, so that packing is deterministic.
  private static func order(_ intervals: [Interval], by key: (Int) -> (Int, Int)) -> [Int] {
    let keys = intervals.indices.map(key)
    return intervals.indices.sorted { a, b in
      keys[a] != keys[b] ? keys[a] > keys[b] : a < b
    }
  }

  /// Places buffers one after the other, each in the smallest gap that holds it among those placed before
  /// that are needed at the same time.
  private static func place(
    _ intervals: [Interval], _ sizes: [Int], _ order: [Int]
  ) -> (offsets: [Int], total: Int) {
    var offsets = [Int](repeating: 0, count: intervals.count)
    var placed: [Int] = []  // by offset
    placed.reserveCapacity(order.count)
    var total = 0
    for index in order where sizes[index] > 0 {
      var end = 0  // of what is placed so far, going up
      var best: (gap: Int, offset: Int)?
      for other in placed where intervals[other].overlaps(intervals[index]) {
        let gap = offsets[other] - end
        if gap >= sizes[index] && gap < best?.gap ?? .max { best = (gap, end) }
        end = max(end, offsets[other] + sizes[other])
      }
      let offset = best?.offset ?? end
      offsets[index] = offset
      total = max(total, offset + sizes[index])
      var low = 0, high = placed.count
      while low < high {
        let middle = (low + high) / 2
        if offsets[placed[middle]] <= offset { low = middle + 1 } else { high = middle }
      }
      placed.insert(index, at: low)
    }
    return (offsets, total)
  }
}
