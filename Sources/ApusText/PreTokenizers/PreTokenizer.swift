// Pre-tokenizers: how a text is cut into the pieces that a model sees one by one.
//
// The kinds, their names and fields are those of Hugging Face's `tokenizer.json`.

import ApusGraph

/// How a text is cut.
indirect enum PreTokenizer: Sendable {
  case bert
  case byteLevel(addsPrefixSpace: Bool, trimsOffsets: Bool, usesRegex: Bool)
  case delimiter(Unicode.Scalar)
  case digits(individual: Bool)
  case fixedLength(Int)
  case metaspace(Metaspace)
  case punctuation(SplitBehavior)
  case sequence([PreTokenizer])
  case split(Pattern, SplitBehavior, inverted: Bool)
  case whitespace
  case whitespaceSplit

  /// - Throws: `resource` where a pattern is given up.
  func apply(to split: inout SplitText) throws {
    try apply(to: &split, isLast: true)
  }

  /// - `isLast`: whether nothing comes after it, so that bytes need not be spelled but where the model asks for it.
  private func apply(to split: inout SplitText, isLast: Bool) throws {
    switch self {
    case .sequence(let steps):
      for (index, step) in steps.enumerated() {
        try step.apply(to: &split, isLast: isLast && index == steps.count - 1)
      }
    case .byteLevel(let addsPrefixSpace, _, let usesRegex):
      if addsPrefixSpace { Self.addPrefixSpaces(&split) }
      if usesRegex {
        split.split { text, range, give in
          let start = text.baseAddress!
          var place = range.lowerBound
          while place < range.upperBound {
            let end = KnownPattern.gpt2.end(start, from: place, to: range.upperBound)
            give(place, end)
            place = end
          }
        }
      }
      if isLast { split.isSpelled = true } else { split.rewrite { ByteAlphabet.spell(&$0) } }
    case .metaspace(let metaspace): metaspace.apply(to: &split)
    case .split(.known(let known, _), .isolated, _), .split(.known(let known, _), .removed, true):
      // Without gaps, so that matches are all there is.
      split.split { text, range, give in
        let start = text.baseAddress!
        var place = range.lowerBound
        while place < range.upperBound {
          let end = known.end(start, from: place, to: range.upperBound)
          give(place, end)
          place = end
        }
      }
    case .split(let pattern, let behavior, let inverted):
      try split.split { text, range, give in
        var matches = try pattern.matches(in: text, range)
        if inverted { for index in matches.indices { matches[index].isMatch.toggle() } }
        behavior.split(matches, give)
      }
    default: Self.cut(self, &split)
    }
  }

  /// Those that look at single scalars.
  private static func cut(_ kind: PreTokenizer, _ split: inout SplitText) {
    switch kind {
    case .bert:
      split.split(bert)
    case .whitespace:
      split.split(words)
    case .whitespaceSplit:
      split.split { matches($0, $1, .removed, $2) { ScalarClass.of($0).contains(.space) } }
    case .punctuation(let behavior):
      split.split { matches($0, $1, behavior, $2) { ScalarClass.of($0).contains(.punctuation) } }
    case .digits(let individual):
      split.split {
        matches($0, $1, individual ? .isolated : .contiguous, $2) {
          ScalarClass.of($0).contains(.numeric)
        }
      }
    case .delimiter(let delimiter):
      split.split { matches($0, $1, .removed, $2) { $0 == delimiter.value } }
    case .fixedLength(let length):
      split.split { text, range, give in
        var start = range.lowerBound, place = range.lowerBound, count = 0
        while place < range.upperBound {
          place += scalarLength(text[place])
          count += 1
          if count == length {
            give(start, place)
            (start, count) = (place, 0)
          }
        }
        give(start, place)
      }
    default: break
    }
  }

  /// Cuts where scalars are of a kind.
  private static func matches(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ behavior: SplitBehavior,
    _ give: (Int, Int) -> Void, where isMatch: (UInt32) -> Bool
  ) {
    var matches: [PatternMatch] = []
    let start = text.baseAddress!
    var place = range.lowerBound, last = range.lowerBound
    while place < range.upperBound {
      let (value, length) = scalar(start, at: place)
      if isMatch(value) {
        if last < place { matches.append(PatternMatch(range: last..<place, isMatch: false)) }
        matches.append(PatternMatch(range: place..<place + length, isMatch: true))
        last = place + length
      }
      place += length
    }
    if last < place { matches.append(PatternMatch(range: last..<place, isMatch: false)) }
    behavior.split(matches, give)
  }

  /// BERT's: white space goes away, punctuation stands alone.
  private static func bert(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ give: (Int, Int) -> Void
  ) {
    let start = text.baseAddress!
    var place = range.lowerBound, word = range.lowerBound
    while place < range.upperBound {
      let (value, length) = scalar(start, at: place)
      let classes = ScalarClass.of(value)
      if !classes.isDisjoint(with: [.space, .punctuation]) {
        give(word, place)
        word = place + length
        if !classes.contains(.space) { give(place, word) }
      }
      place += length
    }
    give(word, place)
  }

  /// `\w+|[^\w\s]+`
  private static func words(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ give: (Int, Int) -> Void
  ) {
    let start = text.baseAddress!
    var place = range.lowerBound, piece = range.lowerBound
    var last: ScalarClass = .space
    while place < range.upperBound {
      let (value, length) = scalar(start, at: place)
      let classes = ScalarClass.of(value)
      let kind: ScalarClass =
        classes.contains(.word) ? .word : classes.contains(.space) ? .space : []
      if kind != last {
        if last != .space { give(piece, place) }
        (piece, last) = (place, kind)
      }
      place += length
    }
    if last != .space { give(piece, place) }
  }

  private static func addPrefixSpaces(_ split: inout SplitText) {
    let needsAny = split.pieces.contains { $0.token < 0 && split.text.bytes[$0.start] != 0x20 }
    guard needsAny else { return }
    split.rewrite { if $0.bytes.first != 0x20 { $0.prepend([0x20]) } }
  }
}

/// SentencePiece's way: spaces become a character of their own, and pieces begin with it.
struct Metaspace: Sendable {
  enum Scheme: String, Sendable, CaseIterable {
    case always, never, first
  }

  var replacement: Unicode.Scalar
  var scheme: Scheme
  var splits: Bool

  private var spelling: [UInt8] { Array(UTF8.encode(replacement)!) }

  func apply(to split: inout SplitText) {
    let spelling = spelling
    split.rewrite { text in
      let isAtStart = text.alignments.first?.start == 0
      text = Self.replacing(text, by: spelling)
      let begins = text.bytes.starts(with: spelling)
      if !begins, scheme == .always || scheme == .first && isAtStart { text.prepend(spelling) }
    }
    guard splits else { return }
    split.split { text, range, give in
      var start = range.lowerBound, place = range.lowerBound + 1
      let first = spelling[0]
      while place < range.upperBound {
        if text[place] == first, place + spelling.count <= range.upperBound,
          (1..<spelling.count).allSatisfy({ text[place + $0] == spelling[$0] })
        {
          give(start, place)
          start = place
        }
        place += 1
      }
      give(start, range.upperBound)
    }
  }

  /// Spaces replaced; all in one pass.
  private static func replacing(_ text: TextBuffer, by spelling: [UInt8]) -> TextBuffer {
    guard text.bytes.contains(0x20) else { return text }
    var result = TextBuffer.empty(origin: text.origin)
    result.reserve(text.bytes.count + text.bytes.count / 2)
    for (place, byte) in text.bytes.enumerated() {
      if byte == 0x20 {
        result.append(bytes: spelling, for: text.alignments[place])
      } else {
        result.append(byte: byte, for: text.alignments[place])
      }
    }
    return result
  }
}
