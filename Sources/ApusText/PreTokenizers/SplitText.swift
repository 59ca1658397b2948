// A text cut into pieces, some of which are tokens already.

/// A piece of a text: bytes of its buffer.
struct Piece {
  var start: Int
  var end: Int
  /// The id of the added token that it is; -1 for a piece that the model gets.
  var token: Int

  init(_ start: Int, _ end: Int, token: Int = -1) {
    self.start = start
    self.end = end
    self.token = token
  }
}

/// A text and its pieces, in order. Nothing outside of the pieces is of use any more.
struct SplitText {
  var text: TextBuffer
  var pieces: [Piece]
  /// Whether the model gets the pieces' bytes spelled as characters: see ``ByteAlphabet``.
  var isSpelled = false

  init(_ text: TextBuffer, pieces: [Piece]) {
    self.text = text
    self.pieces = pieces
  }

  /// Cuts pieces that are no tokens; empty parts go away.
  ///
  /// - `cut`: gives the parts of a range of the text in order, by calling its last argument.
  mutating func split(
    _ cut: (UnsafeBufferPointer<UInt8>, Range<Int>, (Int, Int) -> Void) throws -> Void
  ) rethrows {
    var result: [Piece] = []
    result.reserveCapacity(max(pieces.count, text.bytes.count / 4))
    try text.bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces {
        guard piece.token < 0 else {
          result.append(piece)
          continue
        }
        try cut(bytes, piece.start..<piece.end) { start, end in
          if start < end { result.append(Piece(start, end)) }
        }
      }
    }
    pieces = result
  }

  /// Changes the text of each piece that is no token.
  mutating func rewrite(_ change: (inout TextBuffer) throws -> Void) rethrows {
    if pieces.count == 1, let piece = pieces.first, piece.token < 0, piece.start == 0,
      piece.end == text.bytes.count, text.origin == 0
    {
      text.align()
      try change(&text)
      pieces = text.bytes.isEmpty ? [] : [Piece(0, text.bytes.count)]
      return
    }
    var whole = TextBuffer.empty(origin: text.origin)
    var result: [Piece] = []
    for piece in pieces {
      let start = whole.bytes.count
      if piece.token >= 0 {
        whole.append(text, piece.start..<piece.end)
      } else {
        var part = TextBuffer.empty(origin: text.source(of: piece.start..<piece.end).lowerBound)
        part.append(text, piece.start..<piece.end)
        try change(&part)
        whole.append(part, 0..<part.bytes.count)
      }
      if whole.bytes.count > start {
        result.append(Piece(start, whole.bytes.count, token: piece.token))
      }
    }
    text = whole
    pieces = result
  }
}
