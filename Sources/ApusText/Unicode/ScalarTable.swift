// A number for each Unicode scalar, looked up in two steps.
//
// The numbers stand in blocks of 128, and equal blocks once. Tables are made at their first use from the text in which
// they are written down, and stay for the life of the process.

/// A number for each scalar; 0 where nothing was said.
struct ScalarTable: @unchecked Sendable {
  /// The block of each 128 scalars.
  private let blocks: UnsafePointer<UInt16>
  private let values: UnsafePointer<UInt16>

  /// - `runs`: ranges with their number, in order and without overlaps.
  init(_ runs: some Sequence<(scalars: Range<Int>, value: UInt16)>) {
    var values = [UInt16](repeating: 0, count: 128)
    var blocks = [UInt16](repeating: 0, count: 0x110000 / 128)
    // Blocks of one number are shared.
    var uniform: [UInt16: UInt16] = [0: 0]
    for (scalars, value) in runs {
      var at = scalars.lowerBound
      while at < scalars.upperBound {
        let block = at >> 7
        let end = min(scalars.upperBound, (block + 1) << 7)
        if end - at == 128 {
          if uniform[value] == nil {
            uniform[value] = UInt16(values.count >> 7)
            values += [UInt16](repeating: value, count: 128)
          }
          blocks[block] = uniform[value] ?? 0
        } else {
          if blocks[block] == 0 {
            blocks[block] = UInt16(values.count >> 7)
            values += [UInt16](repeating: 0, count: 128)
          }
          let start = Int(blocks[block]) << 7
          for scalar in at..<end { values[start + scalar & 127] = value }
        }
        at = end
      }
    }
    self.blocks = Self.kept(blocks)
    self.values = Self.kept(values)
  }

  /// The scalar must be one: below 0x110000.
  @inline(__always) subscript(scalar: UInt32) -> UInt16 {
    values[Int(blocks[Int(scalar >> 7)]) << 7 | Int(scalar & 127)]
  }

  /// A copy that is never given back.
  static func kept<T>(_ array: [T]) -> UnsafePointer<T> {
    let copy = UnsafeMutablePointer<T>.allocate(capacity: max(array.count, 1))
    copy.initialize(from: array, count: array.count)
    return UnsafePointer(copy)
  }
}

/// Scalars that become others: none, one or several.
struct ScalarMapping: Sendable {
  private let entries: ScalarTable
  private let ends: KeptArray<UInt32>
  private let scalars: KeptArray<UInt32>
  /// The scalars that are mapped, in order.
  let sources: [UInt32]

  private struct KeptArray<T>: @unchecked Sendable {
    let start: UnsafePointer<T>
    init(_ array: [T]) { start = ScalarTable.kept(array) }
  }

  init(_ text: StaticString) {
    var reader = PackedNumbers(text)
    var ends: [UInt32] = [0], scalars: [UInt32] = [], sources: [UInt32] = []
    var source = 0
    while !reader.isAtEnd {
      source += reader.next()
      sources.append(UInt32(source))
      var here = source
      for _ in 0..<reader.next() {
        here += reader.nextSigned()
        scalars.append(UInt32(here))
      }
      ends.append(UInt32(scalars.count))
    }
    entries = ScalarTable(
      sources.enumerated().map { (Int($1)..<Int($1) + 1, UInt16($0 + 1)) })
    self.ends = KeptArray(ends)
    self.scalars = KeptArray(scalars)
    self.sources = sources
  }

  /// What the scalar becomes; nil where it stays.
  @inline(__always) subscript(scalar: UInt32) -> UnsafeBufferPointer<UInt32>? {
    let entry = Int(entries[scalar])
    guard entry > 0 else { return nil }
    let start = Int(ends.start[entry - 1])
    return UnsafeBufferPointer(
      start: scalars.start + start, count: Int(ends.start[entry]) - start)
  }
}

/// Numbers as printed characters: five bits each, the lowest first, and a sixth where more follow.
struct PackedNumbers {
  private var at: UnsafePointer<UInt8>
  private let end: UnsafePointer<UInt8>

  init(_ text: StaticString) {
    at = text.utf8Start
    end = text.utf8Start + text.utf8CodeUnitCount
  }

  var isAtEnd: Bool { at == end }

  mutating func next() -> Int {
    var value = 0, shift = 0
    while true {
      let digit = Self.digit(at.pointee)
      at += 1
      value |= (digit & 31) << shift
      guard digit >= 32 else { return value }
      shift += 5
    }
  }

  /// Zero, then -1, 1, -2, 2, ….
  mutating func nextSigned() -> Int {
    let value = next()
    return value & 1 == 0 ? value >> 1 : -(value >> 1) - 1
  }

  /// The place of a character among 0-9, A-Z, a-z, + and -.
  private static func digit(_ byte: UInt8) -> Int {
    switch byte {
    case 0x30...0x39: Int(byte) - 0x30
    case 0x41...0x5a: Int(byte) - 0x41 + 10
    case 0x61...0x7a: Int(byte) - 0x61 + 36
    default: byte == UInt8(ascii: "+") ? 62 : 63
    }
  }
}
