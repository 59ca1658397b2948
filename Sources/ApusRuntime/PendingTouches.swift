// What a plan's steps have touched since the last barrier, found by the bytes that it overlaps.

import ApusGraph

/// The touches since the last barrier.
///
/// A step touches few of the bytes that all the others have touched, and where no barrier stands for
/// thousands of steps, looking at each of them would make a schedule take quadratic time.
struct PendingTouches {
  private var bySpace: [Place.Space: SpaceTouches] = [:]

  /// The first of `touches` that collides with an earlier one, and the step of the first such.
  func conflict(_ touches: [Touch]) -> (touch: Touch, step: Int, wasWritten: Bool)? {
    for touch in touches {
      if let earlier = bySpace[touch.space]?.conflict(touch) {
        return (touch, earlier.step, earlier.touch.isWrite)
      }
    }
    return nil
  }

  mutating func add(_ touches: [Touch], step: Int) {
    for touch in touches { bySpace[touch.space, default: SpaceTouches()].add(touch, step: step) }
  }
}

/// The touches of one memory, in the order in which they came.
private struct SpaceTouches {
  /// What makes one touch as good as another: only the first of equal ones is kept, for it is the one that
  /// a conflict names.
  private struct Key: Hashable {
    var bytes: Range<Int>
    var isWrite: Bool
    var members: Touch.Members
  }

  private var entries: [(touch: Touch, step: Int)] = []
  private var known: Set<Key> = []
  private var reads = ByteIndex()
  private var writes = ByteIndex()

  mutating func add(_ touch: Touch, step: Int) {
    let key = Key(bytes: touch.bytes, isWrite: touch.isWrite, members: touch.members)
    guard known.insert(key).inserted else { return }
    if touch.isWrite {
      writes.insert(entries.count, touch.bytes)
    } else {
      reads.insert(entries.count, touch.bytes)
    }
    entries.append((touch, step))
  }

  /// The first that `touch` collides with.
  func conflict(_ touch: Touch) -> (touch: Touch, step: Int)? {
    var first = Int.max
    func visit(_ number: Int) {
      if number < first, touch.conflicts(with: entries[number].touch) { first = number }
    }
    writes.forEach(near: touch.bytes, visit)
    if touch.isWrite { reads.forEach(near: touch.bytes, visit) }
    return first == .max ? nil : entries[first]
  }
}

/// Numbers by ranges of bytes.
///
/// A range stands in a table of cells that are at least as long as itself, hence in one cell or two
/// neighbours; there is a table for each power of two that occurs.
private struct ByteIndex {
  private var tables: [(shift: Int, cells: [Int: [Int]])] = []

  mutating func insert(_ number: Int, _ bytes: Range<Int>) {
    let shift = Int.bitWidth - (bytes.count - 1).leadingZeroBitCount
    var table = tables.firstIndex { $0.shift == shift }
    if table == nil {
      table = tables.count
      tables.append((shift, [:]))
    }
    for cell in bytes.lowerBound >> shift...(bytes.upperBound - 1) >> shift {
      tables[table!].cells[cell, default: []].append(number)
    }
  }

  /// All whose bytes overlap those, and some more; one may come twice.
  func forEach(near bytes: Range<Int>, _ body: (Int) -> Void) {
    for (shift, cells) in tables {
      let range = bytes.lowerBound >> shift...(bytes.upperBound - 1) >> shift
      if range.count <= cells.count {
        for cell in range { cells[cell]?.forEach(body) }
      } else {
        for (cell, numbers) in cells where range.contains(cell) { numbers.forEach(body) }
      }
    }
  }
}
