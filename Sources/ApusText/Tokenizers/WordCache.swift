// Pieces that came before and their tokens: most words of a text are few words again and again.

/// The tokens of pieces, found by the pieces' bytes.
struct WordCache {
  private struct Entry {
    var hash: UInt64 = 0
    var keyStart: UInt32 = 0
    /// 0 for an empty slot.
    var keyLength: UInt32 = 0
    var tokenStart: UInt32 = 0
    var tokenCount: UInt32 = 0
  }

  private var entries = [Entry](repeating: Entry(), count: 1 << 10)
  private var count = 0
  private var keys: [UInt8] = []
  private(set) var tokens: [ModelToken] = []

  /// Longer pieces are not kept.
  static let mostBytes = 128
  /// With more entries than this, or more bytes of pieces, the cache begins anew.
  private static let mostEntries = 1 << 16
  private static let mostKeyBytes = 1 << 22

  /// Where the tokens of a piece stand in ``tokens``.
  @inline(__always)
  func find(_ bytes: UnsafePointer<UInt8>, _ length: Int, _ hash: UInt64) -> Range<Int>? {
    entries.withUnsafeBufferPointer { entries in
      keys.withUnsafeBufferPointer { keys in
        let mask = entries.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while entries[slot].keyLength > 0 {
          let entry = entries[slot]
          if entry.hash == hash, Int(entry.keyLength) == length,
            Self.equal(keys.baseAddress! + Int(entry.keyStart), bytes, length)
          {
            return Int(entry.tokenStart)..<Int(entry.tokenStart + entry.tokenCount)
          }
          slot = (slot + 1) & mask
        }
        return nil
      }
    }
  }

  @inline(__always)
  private static func equal(
    _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ count: Int
  ) -> Bool {
    for place in 0..<count where a[place] != b[place] { return false }
    return true
  }

  /// Keeps the tokens of a piece that is not there yet.
  mutating func insert(
    _ bytes: UnsafePointer<UInt8>, _ length: Int, _ hash: UInt64, _ new: ArraySlice<ModelToken>
  ) {
    if count >= Self.mostEntries || keys.count + length > Self.mostKeyBytes {
      entries = [Entry](repeating: Entry(), count: entries.count)
      count = 0
      keys.removeAll(keepingCapacity: true)
      tokens.removeAll(keepingCapacity: true)
    }
    if 2 * (count + 1) > entries.count {
      let old = entries
      entries = [Entry](repeating: Entry(), count: 4 * old.count)
      for entry in old where entry.keyLength > 0 { place(entry) }
    }
    place(
      Entry(
        hash: hash, keyStart: UInt32(keys.count), keyLength: UInt32(length),
        tokenStart: UInt32(tokens.count), tokenCount: UInt32(new.count)))
    keys.append(contentsOf: UnsafeBufferPointer(start: bytes, count: length))
    tokens += new
    count += 1
  }

  private mutating func place(_ entry: Entry) {
    let mask = entries.count - 1
    var slot = Int(truncatingIfNeeded: entry.hash) & mask
    while entries[slot].keyLength > 0 { slot = (slot + 1) & mask }
    entries[slot] = entry
  }
}
