// The wire format of Protocol Buffers, as far as TensorBoard's messages need it, and the checksum of its records.
//
// Fields are numbered; a message is a field whose bytes are a message. See the protocol's documentation, "Encoding".

/// The bytes of a message, field by field.
struct ProtocolBuffer {
  private(set) var bytes: [UInt8] = []

  private mutating func key(_ field: Int, _ wireType: UInt64) {
    variable(UInt64(field) << 3 | wireType)
  }

  private mutating func variable(_ number: UInt64) {
    var rest = number
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func fixed(_ bits: UInt64, bytes count: Int) {
    for place in 0..<count { bytes.append(UInt8(truncatingIfNeeded: bits >> (8 * UInt64(place)))) }
  }

  mutating func integer(_ field: Int, _ value: Int) {
    key(field, 0)
    variable(UInt64(bitPattern: Int64(value)))
  }

  mutating func bool(_ field: Int, _ value: Bool) { integer(field, value ? 1 : 0) }

  mutating func double(_ field: Int, _ value: Double) {
    key(field, 1)
    fixed(value.bitPattern, bytes: 8)
  }

  mutating func float(_ field: Int, _ value: Float) {
    key(field, 5)
    fixed(UInt64(value.bitPattern), bytes: 4)
  }

  mutating func data(_ field: Int, _ value: [UInt8]) {
    key(field, 2)
    variable(UInt64(value.count))
    bytes += value
  }

  mutating func string(_ field: Int, _ value: String) { data(field, Array(value.utf8)) }

  /// Packed, as lists of numbers are.
  mutating func doubles(_ field: Int, _ values: [Double]) {
    var packed = ProtocolBuffer()
    packed.bytes.reserveCapacity(8 * values.count)
    for value in values { packed.fixed(value.bitPattern, bytes: 8) }
    data(field, packed.bytes)
  }

  mutating func message(_ field: Int, _ body: (inout ProtocolBuffer) throws -> Void) rethrows {
    var inner = ProtocolBuffer()
    try body(&inner)
    data(field, inner.bytes)
  }

  /// An entry of a map with names as keys.
  mutating func entry(
    _ field: Int, _ name: String, _ value: (inout ProtocolBuffer) -> Void
  ) {
    message(field) {
      $0.string(1, name)
      $0.message(2, value)
    }
  }
}

/// CRC-32C (Castagnoli), reflected, as iSCSI has it: `123456789` gives `e3069283`.
enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
  }

  static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(~0) { crc, byte in crc >> 8 ^ table[Int((crc ^ UInt32(byte)) & 0xff)] }
  }

  /// As records have it, so that the checksum of data that hold checksums is not degenerate.
  static func masked(_ bytes: some Sequence<UInt8>) -> UInt32 {
    let sum = checksum(bytes)
    return (sum >> 15 | sum << 17) &+ 0xa282_ead8
  }
}
