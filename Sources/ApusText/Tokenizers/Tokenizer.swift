// Tokenizers as users have them.

import ApusData
import ApusGraph

/// Makes tokens of texts, and texts of tokens: the files and the results are those of Hugging Face's `tokenizers`.
///
///     let tokenizer = try Tokenizer(file: "tokenizer.json")
///     let encoding = try tokenizer.encode("Hello, world!")
///     encoding.ids                              // [101, 7592, 1010, 2088, 999, 102]
///     try tokenizer.decode(encoding.ids)        // "hello, world!"
///
/// A tokenizer is a value, and any number of tasks may use one. It remembers the tokens of words that it has seen, in a
/// few megabytes for each thread.
public struct Tokenizer: Sendable {
  private(set) var core: TokenizerCore
  /// How encodings that are too long are cut; nil leaves them. A file may say it.
  public private(set) var truncation: TokenTruncation?
  /// How encodings that are too short are filled up; nil leaves them. A file may say it.
  public private(set) var padding: TokenPadding?

  init(_ core: TokenizerCore, truncation: TokenTruncation? = nil, padding: TokenPadding? = nil) {
    self.core = core
    self.truncation = truncation
    self.padding = padding
  }

  /// Reads `tokenizer.json`, with the truncation and the padding that it says.
  ///
  /// - `limit`: the most bytes of the file.
  /// - Throws: `io` where the file cannot be read; `invalidFile` with the byte or the path of the field, such as
  ///   `pre_tokenizer.pretokenizers[1].behavior`, for what is damaged; `unsupported` naming a type or a field that is not
  ///   known; `resource` beyond `limit`.
  public init(file path: String, limit: Int = 1 << 28) throws {
    let bytes = try TextFile.bytes(path, limit: limit, expected: "a tokenizer.json")
    try self.init(json: bytes, path: path)
  }

  /// Reads the text of a `tokenizer.json`; `path` names it in errors.
  ///
  /// - Throws: as ``init(file:limit:)``.
  public init(json bytes: [UInt8], path: String = "<bytes>") throws {
    do {
      let file = try TokenizerFile(try JSON(parsing: bytes))
      var added = AddedVocabulary()
      _ = try added.add(file.added.map(\.token), file.model, file.normalizer)
      for (index, (id, token)) in file.added.enumerated() {
        guard let given = added.id(of: token.content, file.model), given != id else { continue }
        // Other readers give the token an id without a word, and a model would see another token.
        throw ApusError(
          .invalidFile,
          "the added token '\(token.content)' has the id \(id), and would get \(given)",
          at: "added_tokens[\(index)].id",
          expected:
            "an id of the model's vocabulary, or the next behind it in the order of the list")
      }
      self.init(
        try TokenizerCore(
          normalizer: file.normalizer, preTokenizer: file.preTokenizer, model: file.model,
          postProcessor: file.postProcessor, decoder: file.decoder, added: added),
        truncation: file.truncation, padding: file.padding)
    } catch let error as ApusError {
      var error = error
      if error.kind == .parse { error.kind = .invalidFile }
      error.location = error.location.map { "\(path), \($0)" } ?? path
      throw error
    }
  }

  /// Writes `tokenizer.json`: what ``init(file:limit:)`` reads, and other libraries read.
  ///
  /// - Throws: `io` where the folder or the disk refuses.
  public func save(to path: String) throws {
    try AtomicFile.write(json.text + "\n", to: path)
  }

  /// What ``save(to:)`` writes.
  var json: JSON {
    let added = core.added.sorted.map { $0.token.json(id: $0.id) }
    let members: [(String, JSON?)] = [
      ("version", "1.0"), ("truncation", truncation?.json), ("padding", padding?.json),
      ("added_tokens", .array(added)), ("normalizer", core.normalizer?.json),
      ("pre_tokenizer", core.preTokenizer?.json), ("post_processor", core.postProcessor?.json),
      ("decoder", core.decoder?.json), ("model", core.model.json),
    ]
    return .object(members.map { ($0, $1 ?? .null) })
  }

  // MARK: Vocabulary

  /// How many tokens there are, added ones included.
  public var vocabularySize: Int {
    let model = core.model.vocabulary
    return model.count + core.added.ids.keys.count { model.id(of: $0.text) == nil }
  }

  /// The greatest id and one: the rows that a table of embeddings needs.
  public var idLimit: Int {
    max(core.model.vocabulary.idLimit, (core.added.ids.values.max() ?? -1) + 1)
  }

  /// The id of a token; nil where there is none.
  public func tokenToID(_ token: String) -> Int? { core.added.id(of: token, core.model) }

  /// The token of an id; nil where there is none.
  public func idToToken(_ id: Int) -> String? { core.name(id) }

  /// The added tokens by their ids.
  public var addedTokens: [(id: Int, token: AddedToken)] { core.added.sorted }

  /// Adds tokens that are found in texts before the model sees them. Those of the vocabulary keep their ids.
  ///
  /// - Returns: how many were not there before.
  /// - Throws: `resource` where a pattern of the normaliser is given up.
  @discardableResult
  public mutating func addTokens(_ tokens: [AddedToken]) throws -> Int {
    var added = core.added
    let count = try added.add(tokens, core.model, core.normalizer)
    core = try core.with(added)
    return count
  }

  /// Adds tokens that decoding leaves out where it is asked to.
  ///
  ///     try tokenizer.addSpecialTokens(["<start>", "<end>"])
  ///
  /// - Returns: how many were not there before.
  /// - Throws: as ``addTokens(_:)``.
  @discardableResult
  public mutating func addSpecialTokens(_ tokens: [String]) throws -> Int {
    try addTokens(tokens.map { AddedToken($0, isSpecial: true) })
  }

  // MARK: Special tokens

  /// Puts special tokens around texts from now on, as BERT's tokenizers do (Devlin et al. 2019): start, text, separator; for a
  /// pair start, first, separator, second, separator, where the last two parts have the type 1. What the tokenizer put there
  /// before is left out.
  ///
  ///     var tokenizer = try BPETrainer(specialTokens: ["[CLS]", "[SEP]", "[MASK]"]).train(texts)
  ///     try tokenizer.encloseTexts(start: "[CLS]", separator: "[SEP]")
  ///     try tokenizer.encode("hello").tokens          // ["[CLS]", "hello", "[SEP]"]
  ///
  /// - Throws: `missing` naming a token that the vocabulary does not have.
  public mutating func encloseTexts(start: String, separator: String) throws {
    func special(_ token: String) throws -> PostProcessor.SpecialToken {
      guard let id = tokenToID(token) else {
        throw ApusError(
          .missing, "the tokenizer has no token '\(token)'",
          expected: "a token of the vocabulary, or addSpecialTokens([\"\(token)\"]) before")
      }
      return PostProcessor.SpecialToken(token: token, id: id)
    }
    let around = PostProcessor.bert(separator: try special(separator), start: try special(start))
    core = try core.with(core.postProcessor?.trimming.map { .sequence([$0, around]) } ?? around)
  }

  // MARK: Lengths

  /// Cuts encodings that are too long from now on; nil leaves them as they are.
  ///
  /// - Throws: `invalidArgument` for lengths below 0, and a stride that leaves no token of a part to itself.
  public mutating func enableTruncation(_ truncation: TokenTruncation?) throws {
    if let truncation {
      let added = core.postProcessor?.addedCount(isPair: false) ?? 0
      let lengths = 0...Int(UInt32.max)
      guard lengths.contains(truncation.maximumLength), lengths.contains(truncation.stride),
        truncation.stride == 0 || truncation.stride < truncation.maximumLength - added
      else {
        throw ApusError(
          .invalidArgument,
          "parts of at most \(truncation.maximumLength) tokens that share \(truncation.stride)",
          expected: "a stride below the length without its \(added) special tokens, both 0 or more")
      }
    }
    self.truncation = truncation
  }

  /// Fills encodings that are too short up from now on; nil leaves them as they are.
  ///
  /// - Throws: `invalidArgument` for lengths, multiples and ids that make no sense.
  public mutating func enablePadding(_ padding: TokenPadding?) throws {
    if let padding {
      let lengths = 0...TokenPadding.mostTokens
      var isFine = lengths.contains(padding.multiple ?? 0) && padding.id >= 0 && padding.typeID >= 0
      if case .fixed(let length) = padding.length { isFine = isFine && lengths.contains(length) }
      guard isFine else {
        throw ApusError(
          .invalidArgument,
          "padding to \(padding.length), multiples of \(padding.multiple ?? 1), with the id \(padding.id)",
          expected: "lengths of at most \(TokenPadding.mostTokens), and ids of 0 or more")
      }
    }
    self.padding = padding
  }
}
