// Text from bytes that may be no UTF-8.

/// Bytes as text: what is no UTF-8 becomes U+FFFD, as Python's `decode("utf-8", errors="replace")` has it.
///
///     let text = RepairedText(utf8: [0x61, 0xff, 0x62])
///     text.text           // "a\u{fffd}b"
///     text.replacements   // 1
public struct RepairedText: Sendable, Hashable {
  /// The text.
  public let text: String
  /// How many U+FFFD stand in it for bytes that are no character: one for each longest beginning of one.
  public let replacements: Int

  public init(utf8 bytes: some Collection<UInt8>) {
    let known = bytes.withContiguousStorageIfAvailable { String(validating: $0, as: UTF8.self) }
    if let valid = known ?? String(validating: bytes, as: UTF8.self) {
      (text, replacements) = (valid, 0)
      return
    }
    var scalars = String.UnicodeScalarView()
    var count = 0
    var decoder = UTF8(), iterator = bytes.makeIterator()
    while true {
      switch decoder.decode(&iterator) {
      case .scalarValue(let scalar): scalars.append(scalar)
      case .error:
        scalars.append("\u{fffd}")
        count += 1
      case .emptyInput:
        (text, replacements) = (String(scalars), count)
        return
      }
    }
  }
}
