// Where each buffer lies in the arena: dynamic storage allocation with known lifetimes.
//
// Best fit over several orders, the best kept, then improved by packing first whatever stood highest.
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
  /// - Complexity: O(n²) for each order tried; fewer orders are tried as n grows.
  init(_ intervals: [Interval]) {
    let sizes = intervals.map { Self.aligned($0.bytes) }
    let bound = Self.lowerBound(intervals, sizes: sizes)
    var orders = [Self.order(intervals) { (sizes[$0], intervals[$0].last - intervals[$0].first) }]
    if intervals.count <= 4000 {
      orders += [
        Self.order(intervals) { (-intervals[$0].first, sizes[$0]) },
        Self.order(intervals) { (intervals[$0].last - intervals[$0].first, sizes[$0]) },
        Self.order(intervals) {
          (sizes[$0] * (1 + intervals[$0].last - intervals[$0].first), sizes[$0])
        },
        Self.order(intervals) { (intervals[$0].last, sizes[$0]) },
      ]
    }
    var best: (packing: (offsets: [Int], total: Int), order: [Int])?
    for order in orders {
      let packing = Self.place(intervals, sizes, order)
      if packing.total < best?.packing.total ?? .max { best = (packing, order) }
      if packing.total == bound { break }
    }
    var attempts = intervals.count <= 1500 ? 40 : 4
    while attempts > 0, let current = best, current.packing.total > bound {
      attempts -= 1
      // The buffer that stands highest goes first: it then gets the bottom.
      guard
        let highest = current.order.max(by: {
          current.packing.offsets[$0] + sizes[$0] < current.packing.offsets[$1] + sizes[$1]
        }), let position = current.order.firstIndex(of: highest), position > 0
      else { break }
      var order = current.order
      order.remove(at: position)
      order.insert(highest, at: 0)
      let packing = Self.place(intervals, sizes, order)
      guard packing.total <= current.packing.total else { break }
      best = (packing, order)
    }
    offsets = best?.packing.offsets ?? []
    total = best?.packing.total ?? 0
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
