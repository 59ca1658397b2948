// Tokens beside the model's vocabulary, which are found in a text before anything else happens to it.

import ApusGraph

/// A token that is found in a text as it stands, beside those that a model makes.
///
///     try tokenizer.addTokens([AddedToken("<mask>", isSpecial: true, stripsLeft: true)])
public struct AddedToken: Sendable, Hashable {
  /// The text.
  public var content: String
  /// Whether decoding leaves it out where it is asked to leave special tokens out.
  public var isSpecial: Bool
  /// Whether it counts as a word of its own only, and not as a part of one.
  public var isSingleWord: Bool
  /// Whether white space before it belongs to it.
  public var stripsLeft: Bool
  /// Whether white space after it belongs to it.
  public var stripsRight: Bool
  /// Whether it is looked for in the normalised text, in its own normalised form.
  public var isNormalized: Bool

  /// - `isNormalized`: by default what Hugging Face's library does: special tokens are looked for in the text as it is.
  public init(
    _ content: String, isSpecial: Bool = false, isSingleWord: Bool = false,
    stripsLeft: Bool = false, stripsRight: Bool = false, isNormalized: Bool? = nil
  ) {
    self.content = content
    self.isSpecial = isSpecial
    self.isSingleWord = isSingleWord
    self.stripsLeft = stripsLeft
    self.stripsRight = stripsRight
    self.isNormalized = isNormalized ?? !isSpecial
  }

  public static func == (a: AddedToken, b: AddedToken) -> Bool {
    ByteName(a.content) == ByteName(b.content) && a.isSpecial == b.isSpecial
      && a.isSingleWord == b.isSingleWord && a.stripsLeft == b.stripsLeft
      && a.stripsRight == b.stripsRight && a.isNormalized == b.isNormalized
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(ByteName(content)) }
}

/// The added tokens of a tokenizer.
struct AddedVocabulary: Sendable {
  /// In the order of their coming, the special ones apart.
  private var specials: [AddedToken] = []
  private var others: [AddedToken] = []
  private(set) var ids: [ByteName: Int] = [:]
  private(set) var tokens: [Int: AddedToken] = [:]
  private var specialNames: Set<ByteName> = []
  private var inText = TokenMatcher()
  private var inNormalized = TokenMatcher()

  /// The id of a token, the model's where it is not added.
  func id(of token: String, _ model: any TokenModel) -> Int? {
    ids[ByteName(token)] ?? model.vocabulary.id(of: token).map { Int($0) }
  }

  func isSpecial(_ token: String) -> Bool { specialNames.contains(ByteName(token)) }

  /// All added tokens by their ids.
  var sorted: [(id: Int, token: AddedToken)] {
    tokens.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// Adds tokens: those of the model's vocabulary keep their ids, others get the next.
  ///
  /// - Returns: how many were not there before.
  /// - Throws: `resource` where a pattern of the normaliser is given up.
  mutating func add(
    _ new: [AddedToken], _ model: any TokenModel, _ normalizer: Normalizer?
  ) throws -> Int {
    var count = 0
    for token in new where token.isSpecial && !token.content.isEmpty {
      if specialNames.insert(ByteName(token.content)).inserted { specials.append(token) }
    }
    var known = Set(tokens.values)
    var greatest = ids.values.max()
    for token in new where !token.content.isEmpty && !known.contains(token) {
      count += 1
      let name = ByteName(token.content)
      let size = model.vocabulary.count
      let next = greatest.map { $0 >= size || size == 0 ? $0 + 1 : size } ?? size
      let id = self.id(of: token.content, model) ?? next
      ids[name] = id
      greatest = max(greatest ?? id, id)
      tokens[id] = token
      known.insert(token)
      if !specialNames.contains(name) { others.append(token) }
    }
    try refresh(model, normalizer)
    return count
  }

  private mutating func refresh(_ model: any TokenModel, _ normalizer: Normalizer?) throws {
    var plain: [(bytes: [UInt8], id: Int)] = [], normalized: [(bytes: [UInt8], id: Int)] = []
    for token in specials + others {
      guard let id = id(of: token.content, model) else { continue }
      if token.isNormalized {
        var text = TextBuffer(Array(token.content.utf8))
        try normalizer?.apply(to: &text)
        normalized.append((text.bytes, id))
      } else {
        plain.append((Array(token.content.utf8), id))
      }
    }
    inText = TokenMatcher(plain)
    inNormalized = TokenMatcher(normalized)
  }

  /// The normalised text, cut at the added tokens in it.
  ///
  /// - Throws: `resource` where a pattern of the normaliser is given up.
  func extract(_ text: [UInt8], _ normalizer: Normalizer?) throws -> SplitText {
    let parts = inText.parts(of: text, 0..<text.count, tokens)
    guard let normalizer else {
      let pieces = parts.flatMap { part in
        part.token >= 0
          ? [part] : inNormalized.parts(of: text, part.start..<part.end, tokens)
      }
      return SplitText(TextBuffer(text), pieces: pieces)
    }
    if parts.count == 1, parts[0].token < 0 {
      var buffer = TextBuffer(text)
      try normalizer.apply(to: &buffer)
      let pieces = inNormalized.parts(of: buffer.bytes, 0..<buffer.bytes.count, tokens)
      return SplitText(buffer, pieces: pieces)
    }
    let whole = TextBuffer(text)
    var result = SplitText(TextBuffer.empty(origin: 0), pieces: [])
    for part in parts {
      let start = result.text.bytes.count
      if part.token >= 0 {
        result.text.append(whole, part.start..<part.end)
        result.pieces.append(Piece(start, result.text.bytes.count, token: part.token))
      } else {
        var buffer = TextBuffer(Array(text[part.start..<part.end]), origin: part.start)
        try normalizer.apply(to: &buffer)
        result.text.append(buffer, 0..<buffer.bytes.count)
        result.pieces += inNormalized.parts(
          of: buffer.bytes, 0..<buffer.bytes.count, tokens
        ).map { Piece(start + $0.start, start + $0.end, token: $0.token) }
      }
    }
    return result
  }
}

/// Finds tokens in a text: the leftmost, of those the longest, of equal ones that which came first.
private struct TokenMatcher: Sendable {
  private var trie = ByteTrie([])
  private var begins = [Bool](repeating: false, count: 256)
  private var isEmpty = true

  init() {}

  init(_ tokens: [(bytes: [UInt8], id: Int)]) {
    trie = ByteTrie(tokens.reversed().map { ($0.bytes, Int32($0.id)) })
    for token in tokens {
      guard let first = token.bytes.first else { continue }
      begins[Int(first)] = true
      isEmpty = false
    }
  }

  /// A range of a text, cut at the tokens in it. Empty parts are left out.
  func parts(of text: [UInt8], _ range: Range<Int>, _ tokens: [Int: AddedToken]) -> [Piece] {
    guard !range.isEmpty else { return [] }
    guard !isEmpty else { return [Piece(range.lowerBound, range.upperBound)] }
    return text.withUnsafeBufferPointer { buffer in
      let bytes = buffer.baseAddress!
      var parts: [Piece] = []
      var last = range.lowerBound, place = range.lowerBound
      begins.withUnsafeBufferPointer { begins in
        while place < range.upperBound {
          guard begins[Int(bytes[place])] else {
            place += 1
            continue
          }
          var length = 0, id = 0
          trie.forEachPrefix(bytes + place, range.upperBound - place) {
            (length, id) = ($0, Int($1))
          }
          guard length > 0, let token = tokens[id] else {
            place += 1
            continue
          }
          var start = place, end = place + length
          place = end
          if token.isSingleWord, Self.isInWord(bytes, start, end, range) { continue }
          if token.stripsLeft { start = max(last, Self.spaceStart(bytes, start, range)) }
          if token.stripsRight { end = Self.spaceEnd(bytes, end, range) }
          if last < start { parts.append(Piece(last, start)) }
          if start < end { parts.append(Piece(start, end, token: id)) }
          last = end
        }
      }
      if last < range.upperBound { parts.append(Piece(last, range.upperBound)) }
      return parts
    }
  }

  private static func isInWord(
    _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ range: Range<Int>
  ) -> Bool {
    func isWord(_ place: Int) -> Bool {
      ScalarClass.of(scalar(bytes, at: place).value).contains(.word)
    }
    return start > range.lowerBound && isWord(scalarStart(bytes, before: start))
      || end < range.upperBound && isWord(end)
  }

  private static func spaceStart(
    _ bytes: UnsafePointer<UInt8>, _ place: Int, _ range: Range<Int>
  ) -> Int {
    var place = place
    while place > range.lowerBound {
      let before = scalarStart(bytes, before: place)
      guard ScalarClass.of(scalar(bytes, at: before).value).contains(.space) else { break }
      place = before
    }
    return place
  }

  private static func spaceEnd(
    _ bytes: UnsafePointer<UInt8>, _ place: Int, _ range: Range<Int>
  ) -> Int {
    var place = place
    while place < range.upperBound {
      let (value, length) = scalar(bytes, at: place)
      guard ScalarClass.of(value).contains(.space) else { break }
      place += length
    }
    return place
  }
}
