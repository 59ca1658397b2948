// Bytes spelled as printable characters: GPT-2's alphabet, in which byte-level vocabularies are written.

/// A character for each byte, all of one or two bytes in UTF-8.
enum ByteAlphabet {
  /// The scalar of each byte: itself where it is printed and no space, else from U+0100 on.
  static let scalars: [UInt32] = {
    var scalars: [UInt32] = []
    var next: UInt32 = 0x100
    for byte in UInt32(0)...255 {
      switch byte {
      case 0x21...0x7e, 0xa1...0xac, 0xae...0xff: scalars.append(byte)
      default:
        scalars.append(next)
        next += 1
      }
    }
    return scalars
  }()

  /// The byte of each scalar of the alphabet; the scalars are all below 0x144.
  static let bytes: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
    return bytes
  }()

  /// The byte that a scalar stands for; nil where it stands for none.
  static func byte(_ scalar: UInt32) -> UInt8? {
    guard scalar < 0x144 else { return nil }
    let byte = bytes[Int(scalar)]
    return byte < 0 ? nil : UInt8(byte)
  }

  /// Bytes as a vocabulary writes them.
  static func spelled(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    for byte in bytes { result.append(scalar: scalars[Int(byte)]) }
    return result
  }

  /// Spells a text; each byte comes from where its scalar came from.
  static func spell(_ text: inout TextBuffer) {
    text.align()
    var result = TextBuffer.empty(origin: text.origin)
    result.bytes.reserveCapacity(2 * text.bytes.count)
    for (place, byte) in text.bytes.enumerated() {
      result.append(scalar: scalars[Int(byte)], for: text.alignments[place])
    }
    text = result
  }
}
