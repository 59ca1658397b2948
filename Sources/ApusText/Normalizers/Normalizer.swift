// Normalisers: what happens to a text before it is split into words.
//
// The kinds, their names and fields are those of Hugging Face's `tokenizer.json`.

import ApusGraph

/// What a text goes through first.
indirect enum Normalizer: Sendable {
  case bert(BERTNormalizer)
  case strip(left: Bool, right: Bool)
  case stripAccents
  case form(NormalizationForm)
  case sequence([Normalizer])
  case lowercase
  case nmt
  case precompiled(CharacterMap)
  case replace(Pattern, content: [UInt8])
  case prepend([UInt8])
  case byteLevel

  /// - Throws: `resource` where a pattern is given up.
  func apply(to text: inout TextBuffer) throws {
    switch self {
    case .bert(let bert): bert.apply(to: &text)
    case .strip(let left, let right): Self.strip(&text, left: left, right: right)
    case .stripAccents:
      guard !text.bytes.isASCII else { return }
      text.mapScalars { ScalarClass.of($0).contains(.combining) ? nil : $0 }
    case .form(let form): Self.normalize(&text, to: form)
    case .sequence(let normalizers):
      for normalizer in normalizers { try normalizer.apply(to: &text) }
    case .lowercase: Self.lowercase(&text)
    case .nmt: text.mapScalars(Self.nmt)
    case .precompiled(let map): map.apply(to: &text)
    case .replace(let pattern, let content):
      text.replace(try pattern.matches(in: text.bytes), with: content)
    case .prepend(let content): text.prepend(content)
    case .byteLevel: ByteAlphabet.spell(&text)
    }
  }

  static func normalize(_ text: inout TextBuffer, to form: NormalizationForm) {
    let changes = text.bytes.withUnsafeBufferPointer { bytes in
      Decomposition.isSurely(form, bytes) ? nil : Decomposition.changes(to: form, of: bytes)
    }
    if let changes { text.apply(changes) }
  }

  static func lowercase(_ text: inout TextBuffer) {
    if text.bytes.isASCII {
      // Byte for byte, so that no places change.
      text.bytes.withUnsafeMutableBufferPointer { bytes in
        for place in bytes.indices where bytes[place] &- 0x41 < 26 { bytes[place] |= 0x20 }
      }
      return
    }
    let mapping = Decomposition.lowercaseMapping
    var changes: [ScalarChange] = []
    changes.reserveCapacity(text.bytes.count)
    var isChanged = false
    text.bytes.withUnsafeBufferPointer { bytes in
      guard let start = bytes.baseAddress else { return }
      var place = 0
      while place < bytes.count {
        let (value, length) = scalar(start, at: place)
        place += length
        if value < 0x80 {
          let isUpper = value &- 0x41 < 26
          isChanged = isChanged || isUpper
          changes.append(ScalarChange(isUpper ? value | 0x20 : value, 0))
        } else if let lower = mapping[value] {
          isChanged = true
          for (index, part) in lower.enumerated() {
            changes.append(ScalarChange(part, index > 0 ? 1 : 0))
          }
        } else {
          changes.append(ScalarChange(value, 0))
        }
      }
    }
    if isChanged { text.apply(changes) }
  }

  private static func strip(_ text: inout TextBuffer, left: Bool, right: Bool) {
    let range = text.bytes.withUnsafeBufferPointer { bytes in
      guard let start = bytes.baseAddress else { return 0..<0 }
      var first = 0, end = bytes.count
      while left, first < end {
        let (value, length) = scalar(start, at: first)
        guard ScalarClass.of(value).contains(.space) else { break }
        first += length
      }
      while right, end > first {
        let last = scalarStart(start, before: end)
        guard ScalarClass.of(scalar(start, at: last).value).contains(.space) else { break }
        end = last
      }
      return first..<end
    }
    text.keep(range)
  }

  /// What neural machine translation leaves out, and takes for spaces.
  private static func nmt(_ scalar: UInt32) -> UInt32? {
    switch scalar {
    case 0x01...0x08, 0x0b, 0x0e...0x1f, 0x7f, 0x8f, 0x9f: nil
    case 0x09, 0x0a, 0x0c, 0x0d, 0x1680, 0x200b...0x200f, 0x2028, 0x2029, 0x2581, 0xfeff, 0xfffd:
      0x20
    default: scalar
    }
  }
}

/// BERT's: control characters out, ideographs apart, accents out, lower case; each where it is asked for.
struct BERTNormalizer: Sendable {
  var cleansText = true
  var separatesIdeographs = true
  /// Nil stands for: where it lowers.
  var stripsAccents: Bool?
  var lowercases = true

  func apply(to text: inout TextBuffer) {
    if cleansText { clean(&text) }
    let isASCII = text.bytes.isASCII
    if separatesIdeographs, !isASCII { separate(&text) }
    if stripsAccents ?? lowercases, !isASCII {
      Normalizer.normalize(&text, to: .nfd)
      let hasAccents = text.bytes.withUnsafeBufferPointer { bytes in
        Self.contains(bytes) { ScalarClass.of($0).contains(.accent) }
      }
      if hasAccents { text.mapScalars { ScalarClass.of($0).contains(.accent) ? nil : $0 } }
    }
    if lowercases { Normalizer.lowercase(&text) }
  }

  private func clean(_ text: inout TextBuffer) {
    func cleaned(_ scalar: UInt32) -> UInt32? {
      let classes = ScalarClass.of(scalar)
      return classes.contains(.control) ? nil : classes.contains(.space) ? 0x20 : scalar
    }
    // Tabs and line breaks become spaces, byte for byte; most texts have nothing else.
    var needsMore = false
    text.bytes.withUnsafeMutableBufferPointer { bytes in
      var place = 0
      while place < bytes.count {
        let byte = bytes[place]
        if byte < 0x80 {
          if byte == 0x09 || byte == 0x0a || byte == 0x0d {
            bytes[place] = 0x20
          } else if byte < 0x20 || byte == 0x7f {
            needsMore = true
          }
          place += 1
        } else {
          let (value, length) = scalar(UnsafePointer(bytes.baseAddress!), at: place)
          let classes = ScalarClass.of(value)
          needsMore = needsMore || !classes.isDisjoint(with: [.control, .space])
          place += length
        }
      }
    }
    if needsMore { text.mapScalars(cleaned) }
  }

  private func separate(_ text: inout TextBuffer) {
    let hasAny = text.bytes.withUnsafeBufferPointer { Self.contains($0, isIdeograph) }
    guard hasAny else { return }
    var changes: [ScalarChange] = []
    for scalar in text.bytes.scalars {
      if isIdeograph(scalar) {
        changes += [ScalarChange(0x20, 1), ScalarChange(scalar, 0), ScalarChange(0x20, 1)]
      } else {
        changes.append(ScalarChange(scalar, 0))
      }
    }
    text.apply(changes)
  }

  /// Whether a scalar beyond ASCII is of a kind.
  private static func contains(
    _ bytes: UnsafeBufferPointer<UInt8>, _ isOfKind: (UInt32) -> Bool
  ) -> Bool {
    guard let start = bytes.baseAddress else { return false }
    var place = 0
    while place < bytes.count {
      if start[place] < 0x80 {
        place += 1
        continue
      }
      let (value, length) = scalar(start, at: place)
      if isOfKind(value) { return true }
      place += length
    }
    return false
  }
}
