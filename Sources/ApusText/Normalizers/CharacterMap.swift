// SentencePiece's compiled normalisation: a trie of texts, and what each is replaced by.
//
// The bytes are those of `precompiled_charsmap`: the size of the trie, the trie as a double array of 32-bit units
// (the layout of darts-clone), and texts that end with a zero byte.

import ApusGraph

/// Texts that are replaced by others.
struct CharacterMap: Sendable {
  private let units: [UInt32]
  private let texts: [UInt8]
  /// The map as `tokenizer.json` has it, in base 64.
  let encoded: String

  /// - Throws: `invalidFile` for what is no such map.
  init(base64 text: String, at place: String) throws {
    guard let bytes = Base64.bytes(text) else {
      throw ApusError(.invalidFile, "the map is not base 64", at: place, expected: "base 64")
    }
    func word(_ index: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[4 * index + $1]) << (8 * UInt32($1)) }
    }
    // SentencePiece writes nothing at all where nothing is replaced.
    guard bytes.isEmpty || bytes.count >= 4 else {
      throw ApusError(.invalidFile, "the map is cut short", at: place, expected: "4 bytes or more")
    }
    let size = bytes.isEmpty ? 0 : Int(word(0))
    guard size % 4 == 0, bytes.isEmpty || size + 4 <= bytes.count else {
      throw ApusError(
        .invalidFile, "the map's trie has \(size) bytes", at: place,
        expected: "a multiple of 4, at most \(max(bytes.count - 4, 0))")
    }
    units = (0..<size / 4).map { word($0 + 1) }
    texts = Array(bytes.dropFirst(4 + size))
    encoded = text
    guard String(validating: texts, as: UTF8.self) != nil else {
      throw ApusError(.invalidFile, "the map's texts are not UTF-8", at: place, expected: "UTF-8")
    }
  }

  /// What the shortest beginning of `key` that the map has is replaced by.
  private func replacement(_ key: some Sequence<UInt8>) -> ArraySlice<UInt8>? {
    func offset(_ unit: UInt32) -> UInt32 { (unit >> 10) << ((unit & (1 << 9)) >> 6) }
    guard let root = units.first else { return nil }
    var node = offset(root)
    for byte in key {
      guard byte != 0 else { return nil }
      node ^= UInt32(byte)
      guard node < units.count else { return nil }
      let unit = units[Int(node)]
      guard unit & (1 << 31 | 0xff) == UInt32(byte) else { return nil }
      node ^= offset(unit)
      if unit >> 8 & 1 == 1 {
        guard node < units.count else { return nil }
        let start = Int(units[Int(node)] & (1 << 31 - 1))
        guard start <= texts.count else { return nil }
        let text = texts[start...].prefix { $0 != 0 }
        // A damaged map may point into a scalar.
        return text.first.map { $0 & 0xc0 == 0x80 } == true ? nil : text
      }
    }
    return nil
  }

  func apply(to text: inout TextBuffer) {
    guard !units.isEmpty else { return }
    var changes: [ScalarChange] = []
    var isChanged = false
    func replace(_ old: Int, by new: ArraySlice<UInt8>) {
      isChanged = true
      let scalars = Array(new).scalars
      changes += scalars.map { ScalarChange($0, 0) }
      let more = scalars.count - old
      if more > 0 {
        for index in changes.indices.suffix(more) { changes[index].change = 1 }
      } else if more < 0, !changes.isEmpty {
        // What goes away counts for what stands before it; at the beginning, for nothing.
        changes[changes.count - 1].change += more
      }
    }
    // As SentencePiece does: short clusters as a whole, then scalar by scalar.
    for cluster in String(decoding: text.bytes, as: UTF8.self) {
      let bytes = Array(cluster.utf8)
      if bytes.count < 6, let new = replacement(bytes) {
        replace(cluster.unicodeScalars.count, by: new)
        continue
      }
      for scalar in cluster.unicodeScalars {
        if let new = replacement(UTF8.encode(scalar)!) {
          replace(1, by: new)
        } else {
          changes.append(ScalarChange(scalar.value, 0))
        }
      }
    }
    if isChanged { text.apply(changes) }
  }
}

/// Base 64: RFC 4648.
enum Base64 {
  /// The bytes; nil where the text is none.
  static func bytes(_ text: some StringProtocol) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(text.utf8.count / 4 * 3)
    var value: UInt32 = 0, count = 0, padding = 0
    for byte in text.utf8 {
      let digit: UInt32
      switch byte {
      case 0x41...0x5a: digit = UInt32(byte) - 0x41
      case 0x61...0x7a: digit = UInt32(byte) - 0x61 + 26
      case 0x30...0x39: digit = UInt32(byte) - 0x30 + 52
      case UInt8(ascii: "+"): digit = 62
      case UInt8(ascii: "/"): digit = 63
      case UInt8(ascii: "="):
        padding += 1
        continue
      default: return nil
      }
      guard padding == 0 else { return nil }
      value = value << 6 | digit
      count += 1
      if count % 4 == 0 {
        result += [UInt8(value >> 16 & 0xff), UInt8(value >> 8 & 0xff), UInt8(value & 0xff)]
        value = 0
      }
    }
    switch count % 4 {
    case 0: return padding == 0 ? result : nil
    case 2 where padding == 2: return result + [UInt8(value >> 4 & 0xff)]
    case 3 where padding == 1:
      return result + [UInt8(value >> 10 & 0xff), UInt8(value >> 2 & 0xff)]
    default: return nil
    }
  }

  /// The text of bytes.
  static func text(_ bytes: some Collection<UInt8>) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var result: [UInt8] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let three = Array(rest.prefix(3))
      rest = rest.dropFirst(3)
      let value = (0..<3).reduce(UInt32(0)) {
        $0 << 8 | UInt32($1 < three.count ? three[$1] : 0)
      }
      for index in 0..<4 {
        result.append(
          index <= three.count
            ? digits[Int(value >> (18 - 6 * UInt32(index)) & 63)] : UInt8(ascii: "="))
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
