// What makes tokens of pieces.

import ApusGraph

/// A token in a piece: its id, and the bytes of the piece that it stands for.
struct ModelToken {
  var id: Int32
  var start: UInt32
  var end: UInt32
}

/// What makes tokens of pieces. A piece's tokens depend on nothing but the piece.
protocol TokenModel: Sendable {
  var vocabulary: Vocabulary { get }
  /// The id of tokens that stand for what they are not, so that a token's text is its piece's.
  var surfaceID: Int32? { get }

  /// Whether a piece's tokens are those of its words, where words begin with U+2581.
  var isCutAtMarks: Bool { get }

  /// Appends the tokens of a piece of one byte or more.
  ///
  /// - Throws: `missing` where the vocabulary lacks the token for what it does not know.
  func tokenize(
    _ piece: UnsafeBufferPointer<UInt8>, into tokens: inout [ModelToken],
    _ scratch: inout ModelScratch
  ) throws

  /// As the member `model` of `tokenizer.json`.
  var json: JSON { get }
}

/// Memory that models use again and again.
struct ModelScratch {
  var symbols: [MergeSymbol] = []
  var heap: MergeHeap = MergeHeap()
  var bytes: [UInt8] = []
  var path: [UnigramNode] = []
}

extension TokenModel {
  /// The vocabulary as an object of ids.
  var vocabularyJSON: JSON {
    .object(vocabulary.sorted.map { ($0.token, .integer($0.id)) })
  }
}
