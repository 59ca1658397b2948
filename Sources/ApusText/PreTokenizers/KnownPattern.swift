// The regular expressions that most tokenizers split by, done by hand.
//
// Each cuts a text into pieces without gaps: `end` says where the piece that begins at a place ends. They are those
// of GPT-2, GPT-4 (cl100k), GPT-4o (o200k), Llama 3 and Qwen, as OpenAI's tiktoken and Hugging Face's files have them. What
// the alternatives of an expression match at a place depends on the class of a scalar or two, so that a piece costs a
// look at each of its bytes.

/// An expression that is done by hand.
enum KnownPattern: Sendable, Hashable {
  case gpt2
  /// GPT-4's family: `digits` is the most digits of a piece.
  case gpt4(digits: Int, breaks: Breaks)
  case gpt4o

  /// How white space with line breaks, and at the end of the text, is cut.
  enum Breaks: Sendable, Hashable {
    /// `\s*[\r\n]+|\s+(?!\S)|\s+`
    case first
    /// `\s++$|\s*[\r\n]|\s+(?!\S)|\s`: white space at the end of the text is one piece.
    case atEnd
  }

  /// The expressions in the files of Hugging Face's library, where `++` and `{1,3}+` mean other things than in tiktoken.
  init?(expression: String) {
    let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    let letters = #"[^\r\n\p{L}\p{N}]?\p{L}+"#
    let rest = #" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    switch expression {
    case #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#:
      self = .gpt2
    case #"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#: self = .gpt2
    case "\(contractions)|\(letters)|\\p{N}{1,3}|\(rest)": self = .gpt4(digits: 3, breaks: .first)
    case "\(contractions)|\(letters)|\\p{N}|\(rest)": self = .gpt4(digits: 1, breaks: .first)
    case Self.cl100kExpression: self = .gpt4(digits: 3, breaks: .atEnd)
    case Self.gpt4oExpression: self = .gpt4o
    default: return nil
    }
  }

  /// GPT-4's as tiktoken means it, for Oniguruma.
  static let cl100kExpression =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"#
    + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"#

  /// GPT-4o's.
  static let gpt4oExpression: String = {
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#, lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
    let before = #"[^\r\n\p{L}\p{N}]?"#, after = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    return "\(before)\(upper)*\(lower)+\(after)|\(before)\(upper)+\(lower)*\(after)"
      + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }()

  /// Where the piece ends that begins at `place`, in a text that ends at `end`.
  @inline(__always)
  func end(_ text: UnsafePointer<UInt8>, from place: Int, to end: Int) -> Int {
    let cursor = Cursor(text: text, end: end)
    return switch self {
    case .gpt2: cursor.gpt2(place)
    case .gpt4(let digits, let breaks): cursor.gpt4(place, digits, breaks)
    case .gpt4o: cursor.gpt4o(place)
    }
  }
}

/// What expressions look at.
private struct Kind: OptionSet {
  let rawValue: UInt8
  /// Lu, Lt, Lm, Lo and M.
  static let upper = Kind(rawValue: 1)
  /// Ll, Lm, Lo and M.
  static let lower = Kind(rawValue: 2)
  static let letter = Kind(rawValue: 4)
  static let number = Kind(rawValue: 8)
  static let space = Kind(rawValue: 16)
  /// A carriage return or a line feed.
  static let lineBreak = Kind(rawValue: 32)

  /// Neither letter nor number nor space.
  @inline(__always) var isOther: Bool { isDisjoint(with: [.letter, .number, .space]) }

  nonisolated(unsafe) private static let ascii: UnsafePointer<UInt8> = ScalarTable.kept(
    (0..<128).map { code -> UInt8 in
      switch UInt8(code) {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): Kind([.upper, .letter]).rawValue
      case UInt8(ascii: "a")...UInt8(ascii: "z"): Kind([.lower, .letter]).rawValue
      case UInt8(ascii: "0")...UInt8(ascii: "9"): Kind.number.rawValue
      case 0x0a, 0x0d: Kind([.space, .lineBreak]).rawValue
      case 0x09, 0x0b, 0x0c, 0x20: Kind.space.rawValue
      default: 0
      }
    })

  @inline(__always) static func ofASCII(_ byte: UInt8) -> Kind {
    Kind(rawValue: ascii[Int(byte)])
  }

  static func ofScalar(_ scalar: UInt32) -> Kind {
    let classes = ScalarClass.of(scalar)
    var kind: Kind = []
    if !classes.isDisjoint(with: [.upper, .otherLetter, .mark]) { kind.insert(.upper) }
    if !classes.isDisjoint(with: [.lower, .otherLetter, .mark]) { kind.insert(.lower) }
    if !classes.isDisjoint(with: .letter) { kind.insert(.letter) }
    if classes.contains(.number) { kind.insert(.number) }
    if classes.contains(.space) { kind.insert(.space) }
    return kind
  }
}

private struct Cursor {
  let text: UnsafePointer<UInt8>
  let end: Int

  /// The kind of the scalar at a place before the end, and how many bytes it has.
  @inline(__always) func look(_ place: Int) -> (kind: Kind, length: Int) {
    let byte = text[place]
    if byte < 0x80 { return (Kind.ofASCII(byte), 1) }
    let (value, length) = scalar(text, at: place)
    return (Kind.ofScalar(value), length)
  }

  /// Behind the scalars from `place` on that have one of the kinds.
  @inline(__always) func run(_ place: Int, _ kinds: Kind) -> Int {
    var place = place
    while place < end {
      let (kind, length) = look(place)
      guard !kind.isDisjoint(with: kinds) else { break }
      place += length
    }
    return place
  }

  @inline(__always) func runOfOthers(_ place: Int) -> Int {
    var place = place
    while place < end {
      let (kind, length) = look(place)
      guard kind.isOther else { break }
      place += length
    }
    return place
  }

  /// Behind an apostrophe and one of s, t, m, d, ll, ve and re; nil where there is none.
  ///
  /// - `ignoringCase`: as Unicode folds cases: the long s is an s.
  @inline(__always) func contraction(_ place: Int, ignoringCase: Bool) -> Int? {
    guard place + 1 < end, text[place] == UInt8(ascii: "'") else { return nil }
    let mask: UInt8 = ignoringCase ? 0x20 : 0
    let first = text[place + 1]
    if first >= 0x80 {
      let isLongS = ignoringCase && first == 0xc5 && place + 2 < end && text[place + 2] == 0xbf
      return isLongS ? place + 3 : nil
    }
    let letter = ignoringCase && first &- 0x41 < 26 ? first | mask : first
    switch letter {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
      return place + 2
    case UInt8(ascii: "l"), UInt8(ascii: "v"), UInt8(ascii: "r"):
      guard place + 2 < end else { return nil }
      let second = text[place + 2] | mask
      let wanted = letter == UInt8(ascii: "l") ? letter : UInt8(ascii: "e")
      return second == wanted ? place + 3 : nil
    default: return nil
    }
  }

  /// The end of a piece of white space: `\s+(?!\S)|\s+`, where `place` is white space.
  @inline(__always) func whiteSpace(_ place: Int, runEnd: Int, single: Int) -> Int {
    if runEnd == end { return runEnd }
    // The last one goes with what follows, unless it is the only one.
    let last = scalarStart(text, before: runEnd)
    return last > place ? last : single
  }

  @inline(__always) func gpt2(_ place: Int) -> Int {
    if text[place] == UInt8(ascii: "'"), let end = contraction(place, ignoringCase: false) {
      return end
    }
    var (kind, length) = look(place)
    var start = place
    if text[place] == 0x20, place + 1 < end {
      let next = look(place + 1)
      if !next.kind.contains(.space) {
        start = place + 1
        (kind, length) = next
      }
    }
    if kind.contains(.letter) { return run(start + length, .letter) }
    if kind.contains(.number) { return run(start + length, .number) }
    if !kind.contains(.space) { return runOfOthers(start + length) }
    return whiteSpace(place, runEnd: run(place, .space), single: place + length)
  }

  @inline(__always)
  func gpt4(_ place: Int, _ digits: Int, _ breaks: KnownPattern.Breaks) -> Int {
    if text[place] == UInt8(ascii: "'"), let end = contraction(place, ignoringCase: true) {
      return end
    }
    let (kind, length) = look(place)
    if kind.contains(.letter) { return run(place + length, .letter) }
    if kind.contains(.number) { return number(place, digits) }
    // Anything but a line break may stand before letters.
    let next = place + length
    let follower = next < end ? look(next) : (kind: [], length: 0)
    if !kind.contains(.lineBreak), follower.kind.contains(.letter) {
      return run(next + follower.length, .letter)
    }
    return others(place, kind, length, follower, slashes: false, breaks)
  }

  @inline(__always) private func number(_ place: Int, _ digits: Int) -> Int {
    var place = place
    for _ in 0..<digits where place < end {
      let (kind, length) = look(place)
      guard kind.contains(.number) else { break }
      place += length
    }
    return place
  }

  /// Punctuation with the breaks behind it, or white space.
  @inline(__always) private func others(
    _ place: Int, _ kind: Kind, _ length: Int, _ follower: (kind: Kind, length: Int),
    slashes: Bool, _ breaks: KnownPattern.Breaks
  ) -> Int {
    let next = place + length
    let startsWithSpace = text[place] == 0x20 && next < end && follower.kind.isOther
    if kind.isOther || startsWithSpace {
      var last = runOfOthers(next)
      while last < end,
        text[last] == 0x0a || text[last] == 0x0d || slashes && text[last] == UInt8(ascii: "/")
      {
        last += 1
      }
      return last
    }
    // White space: up to the last line break of it, where there is one.
    var runEnd = place, lastBreak = -1
    while runEnd < end {
      let (kind, length) = look(runEnd)
      guard kind.contains(.space) else { break }
      runEnd += length
      if kind.contains(.lineBreak) { lastBreak = runEnd }
    }
    if breaks == .atEnd, runEnd == end { return runEnd }
    if lastBreak > 0 { return lastBreak }
    return whiteSpace(place, runEnd: runEnd, single: next)
  }

  @inline(__always) func gpt4o(_ place: Int) -> Int {
    let (kind, length) = look(place)
    let next = place + length
    let mayStandBefore = kind.isDisjoint(with: [.letter, .number, .lineBreak])
    let letters: Kind = [.upper, .lower]
    let follower = next < end ? look(next) : (kind: [], length: 0)
    // With a scalar before the letters where one may stand there, else without; first words that end in small letters.
    if mayStandBefore, !follower.kind.isDisjoint(with: letters) {
      if let last = capitalised(next) { return suffixed(last) }
    }
    let startsWithLetter = !kind.isDisjoint(with: letters)
    if startsWithLetter, let last = capitalised(place) { return suffixed(last) }
    if mayStandBefore, follower.kind.contains(.upper) {
      return suffixed(run(run(next, .upper), .lower))
    }
    if kind.contains(.upper) { return suffixed(run(run(place, .upper), .lower)) }
    if kind.contains(.number) { return number(place, 3) }
    return others(place, kind, length, follower, slashes: true, .first)
  }

  /// The end of capitals and then one small letter or more, where letters without case and marks are both.
  @inline(__always) private func capitalised(_ place: Int) -> Int? {
    let capitals = run(place, .upper)
    let small = run(capitals, .lower)
    if small > capitals { return small }
    // The capitals give back down to the last that is a small letter, too.
    var last = capitals
    while last > place {
      let start = scalarStart(text, before: last)
      if look(start).kind.contains(.lower) { return last }
      last = start
    }
    return nil
  }

  @inline(__always) private func suffixed(_ place: Int) -> Int {
    contraction(place, ignoringCase: true) ?? place
  }
}
