// Strings of bytes and their numbers: a hash table in flat memory, looked up without an object for a key.

/// A secret of the process, so that no file can choose keys that collide.
private let hashSecret = UInt64.random(in: 0...UInt64.max)

/// A hash of bytes: eight at a time, multiplied to 128 bits and folded.
@inline(__always)
func byteHash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
  @inline(__always) func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }
  let raw = UnsafeRawPointer(bytes)
  var hash = hashSecret ^ UInt64(truncatingIfNeeded: count)
  var place = 0
  while place + 8 <= count {
    let word = raw.loadUnaligned(fromByteOffset: place, as: UInt64.self)
    hash = mix(hash ^ word, 0x9e37_79b9_7f4a_7c15)
    place += 8
  }
  if place < count {
    var word: UInt64 = 0
    if count >= 8 {
      // The last eight again, which is one load in place of up to seven.
      word = raw.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
    } else {
      while place < count {
        word = word << 8 | UInt64(bytes[place])
        place += 1
      }
    }
    hash = mix(hash ^ word, 0xd6e8_feb8_6659_fd93)
  }
  return mix(hash, 0xff51_afd7_ed55_8ccd)
}

/// A set of strings of bytes, numbered from 0 on as they come.
struct ByteStringTable: Sendable {
  private(set) var blob: [UInt8] = []
  /// Where each string ends; one more in front.
  private(set) var ends: [Int] = [0]
  /// The string in each slot, and 0 for none; else its number and one.
  private var slots: [UInt32] = [UInt32](repeating: 0, count: 16)

  var count: Int { ends.count - 1 }

  init(reserving count: Int = 0) {
    var size = 16
    while size < 2 * count { size *= 2 }
    slots = [UInt32](repeating: 0, count: size)
    ends.reserveCapacity(count + 1)
  }

  /// The bytes of a string.
  subscript(index: Int) -> ArraySlice<UInt8> { blob[ends[index]..<ends[index + 1]] }

  /// Where a string stands in ``blob``.
  func range(_ index: Int) -> Range<Int> { ends[index]..<ends[index + 1] }

  /// The number of a string, if it is there.
  @inline(__always)
  func index(of bytes: UnsafePointer<UInt8>, _ count: Int) -> Int? {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: byteHash(bytes, count)) & mask
    return blob.withUnsafeBufferPointer { blob in
      slots.withUnsafeBufferPointer { slots in
        ends.withUnsafeBufferPointer { ends in
          while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            let start = ends[index]
            if ends[index + 1] - start == count, Self.equal(blob, start, bytes, count) {
              return index
            }
            slot = (slot + 1) & mask
          }
          return nil
        }
      }
    }
  }

  @inline(__always)
  private static func equal(
    _ blob: UnsafeBufferPointer<UInt8>, _ start: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int
  ) -> Bool {
    for place in 0..<count where blob[start + place] != bytes[place] { return false }
    return true
  }

  /// The number of a string, if it is there.
  func index(of bytes: [UInt8]) -> Int? {
    bytes.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return index(ofNothing: ()) }
      return index(of: start, buffer.count)
    }
  }

  private func index(ofNothing: Void) -> Int? {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) {
      index(of: UnsafePointer($0.baseAddress!), 0)
    }
  }

  /// The number of a string, which is added where it is not there yet.
  mutating func insert(_ bytes: [UInt8]) -> (index: Int, isNew: Bool) {
    if let index = index(of: bytes) { return (index, false) }
    let index = count
    blob += bytes
    ends.append(blob.count)
    if 2 * count > slots.count { grow() } else { place(index) }
    return (index, true)
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: 2 * slots.count)
    for index in 0..<count { place(index) }
  }

  private mutating func place(_ index: Int) {
    let mask = slots.count - 1
    let range = range(index)
    let hash = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) { nothing in
      blob.withUnsafeBufferPointer { blob in
        byteHash(
          blob.baseAddress.map { $0 + range.lowerBound } ?? UnsafePointer(nothing.baseAddress!),
          range.count)
      }
    }
    var slot = Int(truncatingIfNeeded: hash) & mask
    while slots[slot] != 0 { slot = (slot + 1) & mask }
    slots[slot] = UInt32(index + 1)
  }
}
