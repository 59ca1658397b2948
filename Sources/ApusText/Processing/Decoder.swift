// Decoders: from tokens back to text.

import ApusGraph

/// What makes text of tokens: each step changes the list, at the end its elements are joined.
indirect enum Decoder: Sendable {
  case bpe(suffix: String)
  case byteFallback
  case byteLevel(addsPrefixSpace: Bool, trimsOffsets: Bool, usesRegex: Bool)
  case ctc(pad: String, delimiter: String, cleansUp: Bool)
  case fuse
  case metaspace(Metaspace)
  case replace(Pattern, content: String)
  case sequence([Decoder])
  case strip(Unicode.Scalar, start: Int, stop: Int)
  case wordPiece(prefix: String, cleansUp: Bool)

  /// - Throws: `resource` where a pattern is given up.
  func apply(to tokens: [[UInt8]]) throws -> [[UInt8]] {
    switch self {
    case .sequence(let steps): try steps.reduce(tokens) { try $1.apply(to: $0) }
    case .bpe(let suffix):
      tokens.enumerated().map { index, token in
        Self.replacing(token, suffix, by: index == tokens.count - 1 ? "" : " ")
      }
    case .byteFallback: Self.bytes(tokens)
    case .byteLevel: [Self.unspelled(tokens)]
    case .ctc(let pad, let delimiter, let cleansUp):
      Self.connected(tokens, Array(pad.utf8), delimiter, cleansUp)
    case .fuse: [tokens.flatMap { $0 }]
    case .metaspace(let metaspace): Self.spaced(tokens, metaspace)
    case .replace(let pattern, let content):
      try tokens.map { token in
        var text = TextBuffer(token)
        text.replace(try pattern.matches(in: token), with: Array(content.utf8))
        return text.bytes
      }
    case .strip(let scalar, let start, let stop):
      tokens.map { Self.stripped($0, Array(UTF8.encode(scalar)!), start, stop) }
    case .wordPiece(let prefix, let cleansUp):
      tokens.enumerated().map { index, token in
        var result = token
        if index > 0 {
          let mark = Array(prefix.utf8)
          result = token.starts(with: mark) ? Array(token.dropFirst(mark.count)) : [0x20] + token
        }
        return cleansUp ? Self.cleaned(result) : result
      }
    }
  }

  private static func replacing(_ text: [UInt8], _ old: String, by new: String) -> [UInt8] {
    let old = Array(old.utf8), new = Array(new.utf8)
    guard !old.isEmpty, text.count >= old.count else { return text }
    var result: [UInt8] = []
    var place = 0
    while place < text.count {
      if text[place...].starts(with: old) {
        result += new
        place += old.count
      } else {
        result.append(text[place])
        place += 1
      }
    }
    return result
  }

  /// English as people write it, from words with spaces between.
  private static func cleaned(_ text: [UInt8]) -> [UInt8] {
    [
      (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
      (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ].reduce(text) { replacing($0, $1.0, by: $1.1) }
  }

  /// `<0x41>` as the byte that it names; bytes that are no text as one U+FFFD each.
  private static func bytes(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var pending: [UInt8] = []
    func flush() {
      guard !pending.isEmpty else { return }
      if String(validating: pending, as: UTF8.self) != nil {
        result.append(pending)
      } else {
        result += [[UInt8]](repeating: [0xef, 0xbf, 0xbd], count: pending.count)
      }
      pending = []
    }
    for token in tokens {
      if let byte = namedByte(token) {
        pending.append(byte)
      } else {
        flush()
        result.append(token)
      }
    }
    flush()
    return result
  }

  private static func namedByte(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else {
      return nil
    }
    // A sign before one digit is read as Rust reads it.
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }

  /// The bytes that tokens spell; those that do not spell bytes stand for their own.
  static func unspelled(_ tokens: [[UInt8]]) -> [UInt8] {
    var bytes: [UInt8] = []
    for token in tokens {
      let spelled = token.scalars.map { ByteAlphabet.byte($0) }
      if spelled.allSatisfy({ $0 != nil }) {
        bytes += spelled.compactMap { $0 }
      } else {
        bytes += token
      }
    }
    return Array(String(decoding: bytes, as: UTF8.self).utf8)
  }

  private static func spaced(_ tokens: [[UInt8]], _ metaspace: Metaspace) -> [[UInt8]] {
    tokens.enumerated().map { index, token in
      var result: [UInt8] = []
      for scalar in token.scalars {
        if scalar != metaspace.replacement.value {
          result.append(scalar: scalar)
        } else if index > 0 || metaspace.scheme == .never {
          result.append(0x20)
        }
      }
      return result
    }
  }

  private static func stripped(
    _ token: [UInt8], _ content: [UInt8], _ start: Int, _ stop: Int
  ) -> [UInt8] {
    var rest = token[...]
    var count = 0
    while count < start, rest.starts(with: content) {
      rest = rest.dropFirst(content.count)
      count += 1
    }
    count = 0
    while count < stop, rest.count >= content.count,
      rest.suffix(content.count).elementsEqual(content)
    {
      rest = rest.dropLast(content.count)
      count += 1
    }
    return Array(rest)
  }

  /// Connectionist temporal classification: repeated tokens once, and no blanks.
  private static func connected(
    _ tokens: [[UInt8]], _ pad: [UInt8], _ delimiter: String, _ cleansUp: Bool
  ) -> [[UInt8]] {
    var result: [[UInt8]] = []
    for (index, token) in tokens.enumerated() where index == 0 || tokens[index - 1] != token {
      var text = replacing(token, String(decoding: pad, as: UTF8.self), by: "")
      if cleansUp { text = replacing(cleaned(text), delimiter, by: " ") }
      if !text.isEmpty { result.append(text) }
    }
    return result
  }
}
