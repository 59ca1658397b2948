// Byte-pair encoding: Sennrich, Haddow and Birch 2016. Characters, and the merges that were learnt, in their order.

import ApusGraph

/// Characters that are merged in the order in which the merges were learnt.
struct BytePairEncoding: TokenModel {
  let vocabulary: Vocabulary
  let merges: MergeTable
  let options: Options
  private let unknownID: Int32?
  private let prefix: [UInt8]
  private let suffix: [UInt8]
  /// The token of each byte that stands for itself in UTF-8: `<0x00>` to `<0xFF>`.
  private let byteTokens: [Int32?]

  /// What files say beside the vocabulary and the merges.
  struct Options: Sendable {
    var unknown: String?
    var prefix: String?
    var suffix: String?
    var fusesUnknown = false
    var fallsBackToBytes = false
    /// Pieces that are tokens stay whole, whatever the merges would make of them.
    var ignoresMerges = false
    /// The number as the file has it: 0 or none.
    var dropout: JSON = .null
  }

  init(_ vocabulary: Vocabulary, _ merges: MergeTable, _ options: Options) {
    self.vocabulary = vocabulary
    self.merges = merges
    self.options = options
    unknownID = options.unknown.flatMap { vocabulary.id(of: $0) }
    prefix = Array((options.prefix ?? "").utf8)
    suffix = Array((options.suffix ?? "").utf8)
    byteTokens = byteTokenIDs(vocabulary, options.fallsBackToBytes)
    isCutAtMarks =
      unknownID != nil && prefix.isEmpty && suffix.isEmpty && !options.ignoresMerges
      && Self.keepsMarksFirst(vocabulary, merges)
  }

  /// Whether U+2581 is a token, and no merge puts it behind another character: then words that begin with it can be
  /// merged one by one. SentencePiece's vocabularies are such, and their texts come in one piece.
  private static func keepsMarksFirst(_ vocabulary: Vocabulary, _ merges: MergeTable) -> Bool {
    let mark: [UInt8] = [0xe2, 0x96, 0x81]
    guard vocabulary.id(of: mark) != nil else { return false }
    return merges.sorted.allSatisfy { merge in
      let token = Array(vocabulary.bytes(of: Int(merge.id)) ?? [])
      let rest = token.drop { mark.contains($0) }
      let leading = token.count - rest.count
      guard leading % 3 == 0, token[..<leading].elementsEqual((0..<leading).map { mark[$0 % 3] })
      else { return false }
      return !rest.indices.contains { rest[$0...].starts(with: mark) }
    }
  }

  var surfaceID: Int32? { nil }
  let isCutAtMarks: Bool

  func tokenize(
    _ piece: UnsafeBufferPointer<UInt8>, into tokens: inout [ModelToken],
    _ scratch: inout ModelScratch
  ) throws {
    guard let text = piece.baseAddress else { return }
    if options.ignoresMerges, let id = vocabulary.id(of: text, piece.count) {
      tokens.append(ModelToken(id: id, start: 0, end: UInt32(piece.count)))
      return
    }
    scratch.symbols.removeAll(keepingCapacity: true)
    try addSymbols(text, piece.count, &scratch)
    merges.mergeAll(&scratch.symbols, &scratch.heap)
    var start: UInt32 = 0
    for symbol in scratch.symbols {
      let end = start + UInt32(symbol.length)
      tokens.append(ModelToken(id: symbol.id, start: start, end: end))
      start = end
    }
  }

  /// A symbol for each character; what the vocabulary lacks becomes bytes, or unknown, or nothing.
  private func addSymbols(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ scratch: inout ModelScratch
  ) throws {
    func add(_ id: Int32, _ length: Int) {
      scratch.symbols.append(
        MergeSymbol(id: id, length: Int32(length), previous: 0, next: 0))
    }
    var unknownLength = 0
    var place = 0
    while place < count {
      let length = scalarLength(text[place])
      defer { place += length }
      let isFirst = place == 0, isLast = place + length == count
      scratch.bytes.removeAll(keepingCapacity: true)
      if !isFirst { scratch.bytes += prefix }
      scratch.bytes.append(contentsOf: UnsafeBufferPointer(start: text + place, count: length))
      if isLast { scratch.bytes += suffix }
      let id = scratch.bytes.withUnsafeBufferPointer {
        vocabulary.id(of: $0.baseAddress!, $0.count)
      }
      if let id {
        if unknownLength > 0, let unknownID { add(unknownID, unknownLength) }
        unknownLength = 0
        add(id, length)
        continue
      }
      if options.fallsBackToBytes, scratch.bytes.allSatisfy({ byteTokens[Int($0)] != nil }) {
        // An unknown character before it comes after these bytes: so does the original.
        for byte in scratch.bytes { add(byteTokens[Int(byte)]!, 1) }
        continue
      }
      guard let unknown = options.unknown else { continue }
      guard let unknownID else {
        throw ApusError(
          .missing, "the vocabulary has no token '\(unknown)' for what it does not know",
          at: "model.unk_token", expected: "a token of the vocabulary")
      }
      if options.fusesUnknown {
        unknownLength += length
      } else {
        if unknownLength > 0 { add(unknownID, unknownLength) }
        unknownLength = length
      }
    }
    if unknownLength > 0, let unknownID { add(unknownID, unknownLength) }
  }

  var json: JSON {
    func text(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
    func token(_ id: Int32) -> JSON { .string(vocabulary.token(of: Int(id)) ?? "") }
    return .object([
      ("type", "BPE"), ("dropout", options.dropout), ("unk_token", text(options.unknown)),
      ("continuing_subword_prefix", text(options.prefix)),
      ("end_of_word_suffix", text(options.suffix)), ("fuse_unk", .bool(options.fusesUnknown)),
      ("byte_fallback", .bool(options.fallsBackToBytes)),
      ("ignore_merges", .bool(options.ignoresMerges)), ("vocab", vocabularyJSON),
      ("merges", .array(merges.sorted.map { .array([token($0.left), token($0.right)]) })),
    ])
  }
}

/// The tokens `<0x00>` to `<0xFF>` of a vocabulary; none at all where they are not asked for.
func byteTokenIDs(_ vocabulary: Vocabulary, _ isWanted: Bool) -> [Int32?] {
  (0..<256).map { byte in
    guard isWanted else { return nil }
    let digits = String(byte, radix: 16, uppercase: true)
    return vocabulary.id(of: "<0x\(digits.count < 2 ? "0" : "")\(digits)>")
  }
}
