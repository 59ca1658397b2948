// Scalars in UTF-8 that is known to be valid.

/// The scalar that begins at `place`, and how many bytes it has.
@inline(__always)
func scalar(
  _ bytes: UnsafePointer<UInt8>, at place: Int
) -> (value: UInt32, length: Int) {
  let first = UInt32(bytes[place])
  if first < 0x80 { return (first, 1) }
  let second = UInt32(bytes[place + 1] & 0x3f)
  if first < 0xe0 { return ((first & 0x1f) << 6 | second, 2) }
  let third = UInt32(bytes[place + 2] & 0x3f)
  if first < 0xf0 { return ((first & 0x0f) << 12 | second << 6 | third, 3) }
  return (
    (first & 0x07) << 18 | second << 12 | third << 6 | UInt32(bytes[place + 3] & 0x3f), 4
  )
}

/// The bytes of the scalar that begins with this one.
@inline(__always)
func scalarLength(_ first: UInt8) -> Int {
  first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
}

/// Where the scalar begins that ends before `place`.
@inline(__always)
func scalarStart(_ bytes: UnsafePointer<UInt8>, before place: Int) -> Int {
  var start = place - 1
  while bytes[start] & 0xc0 == 0x80 { start -= 1 }
  return start
}

extension [UInt8] {
  /// Appends a scalar.
  @inline(__always) mutating func append(scalar: UInt32) {
    switch scalar {
    case 0..<0x80: append(UInt8(scalar))
    case 0x80..<0x800:
      append(UInt8(0xc0 | scalar >> 6))
      append(UInt8(0x80 | scalar & 0x3f))
    case 0x800..<0x10000:
      append(UInt8(0xe0 | scalar >> 12))
      append(UInt8(0x80 | scalar >> 6 & 0x3f))
      append(UInt8(0x80 | scalar & 0x3f))
    default:
      append(UInt8(0xf0 | scalar >> 18))
      append(UInt8(0x80 | scalar >> 12 & 0x3f))
      append(UInt8(0x80 | scalar >> 6 & 0x3f))
      append(UInt8(0x80 | scalar & 0x3f))
    }
  }

  /// The scalars of valid UTF-8.
  var scalars: [UInt32] {
    var scalars: [UInt32] = []
    scalars.reserveCapacity(count)
    withUnsafeBufferPointer { bytes in
      guard let start = bytes.baseAddress else { return }
      var place = 0
      while place < bytes.count {
        let (value, length) = scalar(start, at: place)
        scalars.append(value)
        place += length
      }
    }
    return scalars
  }

  /// Whether all bytes are ASCII.
  var isASCII: Bool { withUnsafeBufferPointer { $0.isASCII } }
}

extension UnsafeBufferPointer<UInt8> {
  /// Whether all bytes are ASCII.
  var isASCII: Bool {
    let raw = UnsafeRawBufferPointer(self)
    var place = 0
    while place + 8 <= raw.count {
      if raw.loadUnaligned(fromByteOffset: place, as: UInt64.self) & 0x8080_8080_8080_8080 != 0 {
        return false
      }
      place += 8
    }
    while place < raw.count {
      if raw[place] >= 0x80 { return false }
      place += 1
    }
    return true
  }
}
