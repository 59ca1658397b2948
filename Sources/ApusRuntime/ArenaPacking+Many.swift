// The packing of buffers by the ten thousand, without looking at each pair of them.

extension ArenaPacking {
  /// Pairs of buffers needed at one time up to which the largest are placed first.
  private static let mostPairs = 40_000_000

  /// Places the buffers in the order in which they are needed, each in the smallest gap, as an allocator
  /// would while the plan runs; and, where that is more than a hundredth above `bound`, the largest first.
  static func packMany(
    _ intervals: [Interval], _ sizes: [Int], bound: Int
  ) -> (offsets: [Int], total: Int) {
    let run = placeAsNeeded(intervals, sizes)
    guard !isGoodEnough(run.total, bound), pairs(intervals) <= mostPairs else { return run }
    let bySize = placeLargestFirst(intervals, sizes)
    return bySize.total < run.total ? bySize : run
  }

  /// How many pairs are needed at one time.
  private static func pairs(_ intervals: [Interval]) -> Int {
    // Of those that overlap, one begins first: count what is alive where each begins.
    var begins = [Int](repeating: 0, count: (intervals.map(\.last).max() ?? -1) + 2)
    var ends = begins
    for interval in intervals {
      begins[interval.first] += 1
      ends[interval.last + 1] += 1
    }
    var alive = 0, pairs = 0
    for step in begins.indices {
      alive -= ends[step]
      pairs += begins[step] * alive + begins[step] * (begins[step] - 1) / 2
      alive += begins[step]
    }
    return pairs
  }

  private static func placeAsNeeded(
    _ intervals: [Interval], _ sizes: [Int]
  ) -> (offsets: [Int], total: Int) {
    var offsets = [Int](repeating: 0, count: intervals.count)
    var gaps = Gaps()
    let order = intervals.indices.filter { sizes[$0] > 0 }.sorted { a, b in
      (intervals[a].first, -sizes[a], a) < (intervals[b].first, -sizes[b], b)
    }
    let ends = order.sorted { intervals[$0].last < intervals[$1].last }
    var ended = 0
    for index in order {
      while intervals[ends[ended]].last < intervals[index].first {
        gaps.free(offsets[ends[ended]], sizes[ends[ended]])
        ended += 1
      }
      offsets[index] = gaps.take(sizes[index])
    }
    return (offsets, gaps.total)
  }

  /// As `place` does by size, with only the neighbours in time of each buffer looked at.
  private static func placeLargestFirst(
    _ intervals: [Interval], _ sizes: [Int]
  ) -> (offsets: [Int], total: Int) {
    let order = intervals.indices.filter { sizes[$0] > 0 }.sorted { a, b in
      (-sizes[a], intervals[a].first - intervals[a].last, a)
        < (-sizes[b], intervals[b].first - intervals[b].last, b)
    }
    var offsets = [Int](repeating: 0, count: intervals.count)
    var placed = IntervalTree((intervals.map(\.last).max() ?? 0) + 1)
    var total = 0
    for index in order {
      var rivals: [(start: Int, end: Int)] = []
      placed.forEach(overlapping: intervals[index], of: intervals) {
        rivals.append((offsets[$0], offsets[$0] + sizes[$0]))
      }
      rivals.sort { $0.start < $1.start }
      var end = 0
      var best: (gap: Int, offset: Int)?
      for rival in rivals {
        let gap = rival.start - end
        if gap >= sizes[index] && gap < best?.gap ?? .max { best = (gap, end) }
        end = max(end, rival.end)
      }
      offsets[index] = best?.offset ?? end
      total = max(total, offsets[index] + sizes[index])
      placed.insert(index, intervals[index])
    }
    return (offsets, total)
  }
}

/// The free parts of an arena that grows at its end.
private struct Gaps {
  /// The end of each gap by its start, and its start by its end.
  private var ends: [Int: Int] = [:]
  private var starts: [Int: Int] = [:]
  /// The starts of the gaps of each size, and the sizes there are, both in order.
  private var bySize: [Int: [Int]] = [:]
  private var sizes: [Int] = []
  private(set) var total = 0

  /// The start of the smallest gap of at least so many bytes, lowest first; the end of the arena where
  /// there is none.
  mutating func take(_ bytes: Int) -> Int {
    let place = Self.place(of: bytes, in: sizes)
    guard place < sizes.count, let start = bySize[sizes[place]]?.first else {
      // The last gap, if it reaches the end, is grown.
      if let start = starts[total] {
        remove(start, total)
        total = start + bytes
        return start
      }
      total += bytes
      return total - bytes
    }
    let end = start + sizes[place]
    remove(start, end)
    if start + bytes < end { insert(start + bytes, end) }
    return start
  }

  mutating func free(_ offset: Int, _ bytes: Int) {
    var (start, end) = (offset, offset + bytes)
    if let before = starts[start] {
      remove(before, start)
      start = before
    }
    if let after = ends[end] {
      remove(end, after)
      end = after
    }
    insert(start, end)
  }

  /// Where a number stands in a list in order, or would stand.
  private static func place(of number: Int, in list: [Int]) -> Int {
    var low = 0, high = list.count
    while low < high {
      let middle = (low + high) / 2
      if list[middle] < number { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private mutating func insert(_ start: Int, _ end: Int) {
    (ends[start], starts[end]) = (end, start)
    let size = end - start
    var list = bySize.removeValue(forKey: size) ?? []
    if list.isEmpty { sizes.insert(size, at: Self.place(of: size, in: sizes)) }
    list.insert(start, at: Self.place(of: start, in: list))
    bySize[size] = list
  }

  private mutating func remove(_ start: Int, _ end: Int) {
    (ends[start], starts[end]) = (nil, nil)
    let size = end - start
    var list = bySize.removeValue(forKey: size) ?? []
    list.remove(at: Self.place(of: start, in: list))
    if list.isEmpty {
      sizes.remove(at: Self.place(of: size, in: sizes))
    } else {
      bySize[size] = list
    }
  }
}

/// Intervals of steps, each in the highest node of a binary tree over all steps whose middle it covers.
private struct IntervalTree {
  private var nodes: [Int: [Int]] = [:]
  private let steps: Int

  init(_ steps: Int) { self.steps = steps }

  mutating func insert(_ number: Int, _ interval: Interval) {
    var low = 0, high = steps
    while true {
      let middle = (low + high) / 2
      if interval.last < middle {
        high = middle
      } else if interval.first > middle {
        low = middle + 1
      } else {
        nodes[middle, default: []].append(number)
        return
      }
    }
  }

  func forEach(overlapping interval: Interval, of all: [Interval], _ body: (Int) -> Void) {
    func visit(_ low: Int, _ high: Int) {
      guard low < high else { return }
      let middle = (low + high) / 2
      for number in nodes[middle] ?? [] where all[number].overlaps(interval) { body(number) }
      if interval.first < middle { visit(low, middle) }
      if interval.last > middle { visit(middle + 1, high) }
    }
    visit(0, steps)
  }
}
