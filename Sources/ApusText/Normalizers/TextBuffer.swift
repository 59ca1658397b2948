// A text on its way from what was given to what a model sees, which knows where each of its bytes comes from.

/// A range of bytes of the text that was given.
struct Alignment: Hashable, Sendable {
  var start: UInt32
  var end: UInt32
}

/// Valid UTF-8, and for each byte the bytes of the given text that it stands for.
struct TextBuffer: Sendable {
  var bytes: [UInt8]
  /// One for each byte, all bytes of a scalar having that of the whole scalar; empty while the text is the given one,
  /// byte for byte or with bytes in place of single bytes.
  private(set) var alignments: [Alignment] = []
  /// Whether ``alignments`` count. Where they do not, byte i comes from the scalar around byte `origin` + i.
  private(set) var isAligned = false
  /// Where the text begins in the given one.
  let origin: Int

  init(_ bytes: [UInt8], origin: Int = 0) {
    self.bytes = bytes
    self.origin = origin
  }

  /// Writes the alignments down.
  mutating func align() {
    guard !isAligned else { return }
    isAligned = true
    alignments = []
    alignments.reserveCapacity(bytes.count)
    var place = 0
    while place < bytes.count {
      let length = scalarLength(bytes[place])
      let here = Alignment(
        start: UInt32(origin + place), end: UInt32(origin + place + length))
      for _ in 0..<length { alignments.append(here) }
      place += length
    }
  }

  /// The bytes of the given text that some of these stand for.
  func source(of range: Range<Int>) -> Range<Int> {
    guard isAligned else { return origin + range.lowerBound..<origin + range.upperBound }
    guard !range.isEmpty else { return origin..<origin }
    let start = Int(alignments[range.lowerBound].start)
    return start..<max(start, Int(alignments[range.upperBound - 1].end))
  }

  /// Appends a part of another text.
  mutating func append(_ other: TextBuffer, _ range: Range<Int>) {
    align()
    bytes += other.bytes[range]
    if other.isAligned {
      alignments += other.alignments[range]
    } else {
      var part = TextBuffer(Array(other.bytes[range]), origin: other.origin + range.lowerBound)
      part.align()
      alignments += part.alignments
    }
  }

  /// Appends a scalar that stands for `source`.
  mutating func append(scalar: UInt32, for source: Alignment) {
    let old = bytes.count
    bytes.append(scalar: scalar)
    for _ in old..<bytes.count { alignments.append(source) }
  }

  /// Makes room for so many bytes.
  mutating func reserve(_ count: Int) {
    bytes.reserveCapacity(count)
    alignments.reserveCapacity(count)
  }

  /// Appends a byte of a scalar that stands for `source`.
  @inline(__always) mutating func append(byte: UInt8, for source: Alignment) {
    bytes.append(byte)
    alignments.append(source)
  }

  /// Appends bytes that stand for `source`.
  mutating func append(bytes new: [UInt8], for source: Alignment) {
    bytes += new
    for _ in new { alignments.append(source) }
  }

  /// An empty text that will have alignments.
  static func empty(origin: Int) -> TextBuffer {
    var buffer = TextBuffer([], origin: origin)
    buffer.isAligned = true
    return buffer
  }

  /// Makes the text that the changes describe.
  ///
  /// - `removed`: scalars that are left out before the first.
  mutating func apply(_ changes: [ScalarChange], removing removed: Int = 0) {
    align()
    var result = TextBuffer.empty(origin: origin)
    result.reserve(bytes.count)
    var place = 0
    func skip(_ count: Int) {
      for _ in 0..<count where place < bytes.count { place += scalarLength(bytes[place]) }
    }
    skip(removed)
    for change in changes {
      let source: Alignment
      if change.change > 0 {
        // One more shares the place of what stands before it.
        source =
          place > 0
          ? alignments[place - 1] : Alignment(start: UInt32(origin), end: UInt32(origin))
      } else {
        source =
          alignments.isEmpty
          ? Alignment(start: UInt32(origin), end: UInt32(origin))
          : alignments[min(place, alignments.count - 1)]
        skip(1 - change.change)
      }
      result.append(scalar: change.scalar, for: source)
    }
    self = result
  }

  /// Leaves scalars out, and puts single others in their place.
  ///
  /// - `change`: the scalar that stands there then; nil for none.
  mutating func mapScalars(_ change: (UInt32) -> UInt32?) {
    align()
    var result = TextBuffer.empty(origin: origin)
    result.reserve(bytes.count)
    bytes.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return }
      var place = 0
      while place < buffer.count {
        let (value, length) = scalar(start, at: place)
        if let new = change(value) { result.append(scalar: new, for: alignments[place]) }
        place += length
      }
    }
    self = result
  }

  /// Puts `content` in the place of each match.
  mutating func replace(_ matches: [PatternMatch], with content: [UInt8]) {
    guard matches.contains(where: \.isMatch) else { return }
    align()
    var result = TextBuffer.empty(origin: origin)
    result.reserve(bytes.count)
    for match in matches {
      if match.isMatch {
        let end = match.range.upperBound
        let source =
          end > 0 ? alignments[end - 1] : Alignment(start: UInt32(origin), end: UInt32(origin))
        result.append(bytes: content, for: source)
      } else {
        result.bytes += bytes[match.range]
        result.alignments += alignments[match.range]
      }
    }
    self = result
  }

  /// Puts a text before the first scalar, in the place of that scalar; an empty text stays.
  mutating func prepend(_ content: [UInt8]) {
    guard !bytes.isEmpty else { return }
    align()
    let source = alignments[0]
    bytes.insert(contentsOf: content, at: 0)
    alignments.insert(contentsOf: [Alignment](repeating: source, count: content.count), at: 0)
  }

  /// Keeps the scalars of a range of bytes.
  mutating func keep(_ range: Range<Int>) {
    guard range != 0..<bytes.count else { return }
    align()
    bytes = Array(bytes[range])
    alignments = Array(alignments[range])
  }
}
