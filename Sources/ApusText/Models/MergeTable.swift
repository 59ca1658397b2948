// Which pairs of tokens become one, and in which order: the heart of byte-pair encoding.

/// Pairs of tokens, the rank of their merge and the token that they become.
struct MergeTable: Sendable {
  private struct Slot {
    /// The pair, left id in the upper half; all ones for none.
    var pair: UInt64
    var rank: Int32
    var id: Int32
  }

  private var slots: [Slot]
  private(set) var count = 0
  private static let none = UInt64.max

  init(reserving count: Int = 0) {
    var size = 16
    while size < 2 * count { size *= 2 }
    slots = [Slot](repeating: Slot(pair: Self.none, rank: 0, id: 0), count: size)
  }

  @inline(__always) private static func hash(_ pair: UInt64) -> Int {
    let product = pair.multipliedFullWidth(by: 0x9e37_79b9_7f4a_7c15)
    return Int(truncatingIfNeeded: product.high ^ product.low)
  }

  /// Adds a merge; that of a pair which is there already is replaced.
  mutating func insert(_ left: Int32, _ right: Int32, rank: Int, id: Int32) {
    if 2 * (count + 1) > slots.count {
      let old = slots
      slots = [Slot](
        repeating: Slot(pair: Self.none, rank: 0, id: 0), count: 2 * old.count)
      for slot in old where slot.pair != Self.none { slots[place(slot.pair)] = slot }
    }
    let pair = Self.pair(left, right)
    let slot = place(pair)
    if slots[slot].pair == Self.none { count += 1 }
    slots[slot] = Slot(pair: pair, rank: Int32(truncatingIfNeeded: rank), id: id)
  }

  private func place(_ pair: UInt64) -> Int {
    let mask = slots.count - 1
    var slot = Self.hash(pair) & mask
    while slots[slot].pair != Self.none, slots[slot].pair != pair { slot = (slot + 1) & mask }
    return slot
  }

  @inline(__always) static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// The merge of a pair: its rank, and the token that comes out.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> (rank: Int32, id: Int32)? {
    let pair = Self.pair(left, right)
    return slots.withUnsafeBufferPointer { slots in
      let mask = slots.count - 1
      var slot = Self.hash(pair) & mask
      while true {
        let found = slots[slot]
        if found.pair == pair { return (found.rank, found.id) }
        if found.pair == Self.none { return nil }
        slot = (slot + 1) & mask
      }
    }
  }

  /// All merges by their ranks.
  var sorted: [(left: Int32, right: Int32, id: Int32)] {
    slots.filter { $0.pair != Self.none }.sorted { $0.rank < $1.rank }.map {
      (
        Int32(truncatingIfNeeded: $0.pair >> 32), Int32(truncatingIfNeeded: $0.pair), $0.id
      )
    }
  }
}

/// A part of a word while it is merged.
struct MergeSymbol {
  var id: Int32
  /// Bytes, 0 for one that went into another.
  var length: Int32
  var previous: Int32
  var next: Int32
  /// The rank of its merge with the next, where words are short and it is kept.
  var rank: Int32 = .max
  var merged: Int32 = 0
}

/// Merges that may be done, the one of the least rank on top, and of equal ones the leftmost.
struct MergeHeap {
  struct Entry {
    var rank: Int32
    var place: Int32
    var id: Int32

    @inline(__always) static func < (a: Entry, b: Entry) -> Bool {
      a.rank != b.rank ? a.rank < b.rank : a.place < b.place
    }
  }

  private var entries: [Entry] = []

  mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

  mutating func push(_ entry: Entry) {
    entries.append(entry)
    var place = entries.count - 1
    while place > 0 {
      let parent = (place - 1) / 2
      guard entries[place] < entries[parent] else { break }
      entries.swapAt(place, parent)
      place = parent
    }
  }

  mutating func pop() -> Entry? {
    guard let top = entries.first, let last = entries.popLast() else { return nil }
    guard !entries.isEmpty else { return top }
    entries[0] = last
    var place = 0
    while true {
      var least = place
      for child in [2 * place + 1, 2 * place + 2]
      where child < entries.count && entries[child] < entries[least] { least = child }
      guard least != place else { return top }
      entries.swapAt(place, least)
      place = least
    }
  }
}

extension MergeTable {
  /// Words of more symbols are merged by a heap.
  private static var mostScanned: Int { 40 }

  /// Does all merges, in the order of their ranks and from left to right.
  func mergeAll(_ symbols: inout [MergeSymbol], _ heap: inout MergeHeap) {
    guard symbols.count > 1, count > 0 else { return }
    if symbols.count <= Self.mostScanned { scan(&symbols) } else { queue(&symbols, &heap) }
  }

  /// By looking for the least rank each time: fastest where there are few.
  private func scan(_ symbols: inout [MergeSymbol]) {
    var count = symbols.count
    symbols.withUnsafeMutableBufferPointer { symbols in
      @inline(__always) func rate(_ place: Int) {
        if place + 1 < count, let merge = merge(symbols[place].id, symbols[place + 1].id) {
          symbols[place].rank = merge.rank
          symbols[place].merged = merge.id
        } else {
          symbols[place].rank = .max
        }
      }
      for place in 0..<count { rate(place) }
      while count > 1 {
        var best = 0
        for place in 1..<count where symbols[place].rank < symbols[best].rank { best = place }
        guard symbols[best].rank < .max else { break }
        symbols[best].id = symbols[best].merged
        symbols[best].length += symbols[best + 1].length
        for place in best + 1..<count - 1 { symbols[place] = symbols[place + 1] }
        count -= 1
        rate(best)
        if best > 0 { rate(best - 1) }
      }
    }
    symbols.removeLast(symbols.count - count)
  }

  private func queue(_ symbols: inout [MergeSymbol], _ heap: inout MergeHeap) {
    heap.removeAll()
    for place in symbols.indices {
      symbols[place].previous = Int32(place) - 1
      symbols[place].next = place + 1 < symbols.count ? Int32(place) + 1 : -1
      if place + 1 < symbols.count,
        let merge = merge(symbols[place].id, symbols[place + 1].id)
      {
        heap.push(MergeHeap.Entry(rank: merge.rank, place: Int32(place), id: merge.id))
      }
    }
    while let top = heap.pop() {
      let place = Int(top.place)
      // What has changed since an entry was made is looked up again.
      guard symbols[place].length > 0, symbols[place].next >= 0 else { continue }
      let right = Int(symbols[place].next)
      guard let now = merge(symbols[place].id, symbols[right].id), now.id == top.id else {
        continue
      }
      symbols[place].id = top.id
      symbols[place].length += symbols[right].length
      symbols[place].next = symbols[right].next
      symbols[right].length = 0
      let previous = Int(symbols[place].previous), next = Int(symbols[place].next)
      if next >= 0 {
        symbols[next].previous = Int32(place)
        if let merge = merge(symbols[place].id, symbols[next].id) {
          heap.push(MergeHeap.Entry(rank: merge.rank, place: Int32(place), id: merge.id))
        }
      }
      if previous >= 0, let merge = merge(symbols[previous].id, symbols[place].id) {
        heap.push(MergeHeap.Entry(rank: merge.rank, place: Int32(previous), id: merge.id))
      }
    }
    symbols.removeAll { $0.length == 0 }
  }
}
