// WordPiece: the longest token that fits, again and again. Schuster and Nakajima 2012, as BERT uses it; and the
// vocabulary of whole words.

import ApusGraph

/// BERT's model: the longest token first.
struct WordPiece: TokenModel {
  let vocabulary: Vocabulary
  let unknown: String
  let prefix: String
  let mostScalars: Int
  private let prefixBytes: [UInt8]
  private let unknownID: Int32?
  /// The bytes of the longest token.
  private let longest: Int

  init(_ vocabulary: Vocabulary, unknown: String, prefix: String, mostScalars: Int) {
    self.vocabulary = vocabulary
    self.unknown = unknown
    self.prefix = prefix
    self.mostScalars = mostScalars
    prefixBytes = Array(prefix.utf8)
    unknownID = vocabulary.id(of: unknown)
    longest = (0..<vocabulary.count).reduce(0) { max($0, vocabulary.table.range($1).count) }
  }

  var surfaceID: Int32? { nil }

  var isCutAtMarks: Bool { false }

  func tokenize(
    _ piece: UnsafeBufferPointer<UInt8>, into tokens: inout [ModelToken],
    _ scratch: inout ModelScratch
  ) throws {
    let first = tokens.count
    guard let text = piece.baseAddress else { return }
    let isShort =
      piece.count <= mostScalars || piece.count { $0 & 0xc0 != 0x80 } <= mostScalars
    var start = 0
    while isShort, start < piece.count {
      guard let (id, end) = longestToken(text, start, piece.count, &scratch.bytes) else { break }
      tokens.append(ModelToken(id: id, start: UInt32(start), end: UInt32(end)))
      start = end
    }
    guard start < piece.count else { return }
    guard let unknownID else {
      throw ApusError(
        .missing, "the vocabulary has no token '\(unknown)' for words that it does not know",
        at: "model.unk_token", expected: "a token of the vocabulary")
    }
    tokens.removeLast(tokens.count - first)
    tokens.append(ModelToken(id: unknownID, start: 0, end: UInt32(piece.count)))
  }

  @inline(__always)
  private func longestToken(
    _ text: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ key: inout [UInt8]
  ) -> (id: Int32, end: Int)? {
    let before = start > 0 ? prefixBytes.count : 0
    // No token is longer than the longest.
    var end = min(count, start + max(longest - before, 0))
    while end < count, end > start, text[end] & 0xc0 == 0x80 { end -= 1 }
    if before == 0 {
      while end > start {
        if let id = vocabulary.id(of: text + start, end - start) { return (id, end) }
        end = scalarStart(text, before: end)
      }
      return nil
    }
    key.removeAll(keepingCapacity: true)
    key += prefixBytes
    key.append(contentsOf: UnsafeBufferPointer(start: text + start, count: end - start))
    return key.withUnsafeBufferPointer { key in
      while end > start {
        if let id = vocabulary.id(of: key.baseAddress!, before + end - start) { return (id, end) }
        end = scalarStart(text, before: end)
      }
      return nil
    }
  }

  var json: JSON {
    .object([
      ("type", "WordPiece"), ("unk_token", .string(unknown)),
      ("continuing_subword_prefix", .string(prefix)),
      ("max_input_chars_per_word", .integer(mostScalars)), ("vocab", vocabularyJSON),
    ])
  }
}

/// Whole words only.
struct WordLevel: TokenModel {
  let vocabulary: Vocabulary
  let unknown: String
  private let unknownID: Int32?

  init(_ vocabulary: Vocabulary, unknown: String) {
    self.vocabulary = vocabulary
    self.unknown = unknown
    unknownID = vocabulary.id(of: unknown)
  }

  var surfaceID: Int32? { nil }

  var isCutAtMarks: Bool { false }

  func tokenize(
    _ piece: UnsafeBufferPointer<UInt8>, into tokens: inout [ModelToken],
    _ scratch: inout ModelScratch
  ) throws {
    guard let text = piece.baseAddress else { return }
    guard let id = vocabulary.id(of: text, piece.count) ?? unknownID else {
      throw ApusError(
        .missing, "the vocabulary has no token '\(unknown)' for words that it does not know",
        at: "model.unk_token", expected: "a token of the vocabulary")
    }
    tokens.append(ModelToken(id: id, start: 0, end: UInt32(piece.count)))
  }

  var json: JSON {
    .object([
      ("type", "WordLevel"), ("vocab", vocabularyJSON), ("unk_token", .string(unknown)),
    ])
  }
}
