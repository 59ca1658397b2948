// OpenAI's ranks: a token in base 64 and its id, a line each, as the library tiktoken reads them.
//
// A pair is merged where the two together are a token, the least id first, so that the list of merges follows from the
// tokens. The tokenizer that comes out is a byte-level one like any other, and can be saved as `tokenizer.json`.

import ApusData
import ApusGraph

/// How tiktoken's vocabularies cut a text.
public enum TiktokenPattern: String, Sendable, Hashable, CaseIterable {
  /// GPT-2's, for `gpt2`, `r50k_base` and `p50k_base`.
  case gpt2
  /// GPT-4's, for `cl100k_base`.
  case cl100k
  /// GPT-4o's, for `o200k_base`.
  case o200k

  /// The expression of Oniguruma's that cuts as the one of tiktoken does: `{1,3}+` and `++` mean other things there.
  var expression: String {
    switch self {
    case .gpt2: #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    case .cl100k: KnownPattern.cl100kExpression
    case .o200k: KnownPattern.gpt4oExpression
    }
  }
}

extension Tokenizer {
  /// Reads a file of ranks, such as `cl100k_base.tiktoken`.
  ///
  ///     let tokenizer = try Tokenizer(
  ///       tiktoken: "cl100k_base.tiktoken", pattern: .cl100k, specialTokens: ["<|endoftext|>": 100257])
  ///
  /// Special tokens are found in texts, as tiktoken finds those that are allowed.
  ///
  /// - `pattern`: how the vocabulary's texts were cut, which the file does not say.
  /// - `specialTokens`: tokens beside those of the file, and their ids.
  /// - Throws: `io` where the file cannot be read; `invalidFile` naming the line that is no token and id, or repeats one;
  ///   `missing` where there is no token for a byte; `invalidArgument` for a special token whose id is another's.
  public init(
    tiktoken path: String, pattern: TiktokenPattern, specialTokens: [String: Int] = [:]
  ) throws {
    let bytes = try TextFile.bytes(path, expected: "a file of tiktoken's ranks")
    try self.init(
      tiktokenRanks: bytes, pattern: pattern, specialTokens: specialTokens, path: path)
  }

  /// Reads the bytes of a file of ranks; `path` names it in errors.
  ///
  /// - Throws: as ``init(tiktoken:pattern:specialTokens:)``.
  public init(
    tiktokenRanks bytes: [UInt8], pattern: TiktokenPattern, specialTokens: [String: Int] = [:],
    path: String = "<bytes>"
  ) throws {
    let ranks = try Self.ranks(bytes, path)
    var vocabulary = Vocabulary(reserving: ranks.tokens.count)
    for (index, id) in ranks.ids.enumerated() {
      try vocabulary.add(
        ByteAlphabet.spelled(ranks.tokens[index]), id: id, at: "\(path), token \(index + 1)")
    }
    let specials = specialTokens.sorted { ($0.value, $0.key) < ($1.value, $1.key) }
    for (token, id) in specials {
      guard vocabulary.bytes(of: id) == nil, vocabulary.id(of: token) == nil, !token.isEmpty else {
        throw ApusError(
          .invalidArgument,
          "the special token '\(token)' has the id \(id), or the text, of another",
          at: path, expected: "a text and an id of its own")
      }
      // Within the vocabulary, so that files keep ids that do not follow one another.
      try vocabulary.add(Array(token.utf8), id: id, at: "specialTokens")
    }
    let model = BytePairEncoding(
      vocabulary, Self.merges(of: ranks), BytePairEncoding.Options(ignoresMerges: true))
    var added = AddedVocabulary()
    _ = try added.add(specials.map { AddedToken($0.key, isSpecial: true) }, model, nil)
    let split = PreTokenizer.split(
      try .expression(pattern.expression, at: path), .isolated, inverted: false)
    self.init(
      try TokenizerCore(
        normalizer: nil,
        preTokenizer: .sequence([
          split, .byteLevel(addsPrefixSpace: false, trimsOffsets: true, usesRegex: false),
        ]), model: model, postProcessor: nil,
        decoder: .byteLevel(addsPrefixSpace: true, trimsOffsets: true, usesRegex: true),
        added: added))
  }

  private struct Ranks {
    var tokens: ByteStringTable
    var ids: [Int]
  }

  private static func ranks(_ bytes: [UInt8], _ path: String) throws -> Ranks {
    var ranks = Ranks(tokens: ByteStringTable(), ids: [])
    var known = Set<Int>()
    for (index, line) in bytes.split(separator: 0x0a, omittingEmptySubsequences: false).enumerated()
    {
      let fields = line.split { $0 == 0x20 || $0 == 0x0d || $0 == 0x09 }
      if fields.isEmpty { continue }
      let place = "\(path), line \(index + 1)"
      guard fields.count == 2,
        let token = Base64.bytes(String(decoding: fields[0], as: UTF8.self)), !token.isEmpty,
        let id = Int(String(decoding: fields[1], as: UTF8.self)), (0..<Int(Int32.max)).contains(id)
      else {
        throw ApusError(
          .invalidFile, "the line is no token and id", at: place,
          expected: "a token in base 64, a space and its id")
      }
      guard ranks.tokens.insert(token).isNew, known.insert(id).inserted else {
        throw ApusError(
          .invalidFile, "the token or its id \(id) stands in a line before", at: place,
          expected: "each once")
      }
      ranks.ids.append(id)
    }
    for byte in UInt8(0)...255 where ranks.tokens.index(of: [byte]) == nil {
      throw ApusError(
        .missing, "there is no token for the byte \(byte)", at: path, expected: "all 256 bytes")
    }
    return ranks
  }

  /// All pairs of tokens that are a token together.
  private static func merges(of ranks: Ranks) -> MergeTable {
    var merges = MergeTable(reserving: 2 * ranks.ids.count)
    ranks.tokens.blob.withUnsafeBufferPointer { blob in
      for index in ranks.ids.indices {
        let range = ranks.tokens.range(index)
        // A token of a whole page has no use for all its parts; no vocabulary has such.
        guard (2...4096).contains(range.count), let start = blob.baseAddress else { continue }
        for middle in range.lowerBound + 1..<range.upperBound {
          guard
            let left = ranks.tokens.index(
              of: start + range.lowerBound, middle - range.lowerBound),
            let right = ranks.tokens.index(of: start + middle, range.upperBound - middle)
          else { continue }
          merges.insert(
            Int32(ranks.ids[left]), Int32(ranks.ids[right]), rank: ranks.ids[index],
            id: Int32(ranks.ids[index]))
        }
      }
    }
    return merges
  }
}
