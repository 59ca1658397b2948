// Tokens to texts.

import ApusGraph

extension Tokenizer {
  /// The text of tokens.
  ///
  /// - `skipSpecialTokens`: whether special tokens are left out.
  /// - Throws: `outOfRange` for an id that is no token's; `resource` where a pattern of the decoder is given up.
  public func decode(_ ids: [Int], skipSpecialTokens: Bool = true) throws -> String {
    String(decoding: try core.bytes(of: ids, skipSpecialTokens), as: UTF8.self)
  }

  /// The texts of lists of tokens.
  ///
  /// - Throws: as ``decode(_:skipSpecialTokens:)``.
  public func decodeBatch(_ lists: [[Int]], skipSpecialTokens: Bool = true) throws -> [String] {
    try lists.map { try decode($0, skipSpecialTokens: skipSpecialTokens) }
  }
}

extension TokenizerCore {
  /// The bytes of the text of tokens.
  ///
  /// - Throws: `outOfRange` for an id that is no token's.
  func bytes(of ids: [Int], _ skipsSpecialTokens: Bool) throws -> [UInt8] {
    var tokens: [[UInt8]] = []
    tokens.reserveCapacity(ids.count)
    for (index, id) in ids.enumerated() {
      guard let token = name(id) else {
        throw ApusError(
          .outOfRange, "the id \(id) is no token's", at: "ids[\(index)]",
          expected:
            "an id of the vocabulary of \(model.vocabulary.count) tokens, or of an added token")
      }
      if skipsSpecialTokens, added.isSpecial(token) { continue }
      tokens.append(Array(token.utf8))
    }
    if let decoder { return try decoder.apply(to: tokens).flatMap { $0 } }
    return Array(tokens.joined(separator: [0x20]))
  }
}

/// The text of tokens that come one by one, as a model writes them: never a part of a character.
///
///     var decoder = StreamingDecoder(tokenizer)
///     for id in ids { print(try decoder.append(id), terminator: "") }
///     print(decoder.finish())
///
/// All that it gives is together what ``Tokenizer/decode(_:skipSpecialTokens:)`` gives of all tokens, for decoders that do
/// not take back what they said.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  /// Tokens whose text has been given, which what follows may lean on: whether a space belongs before it, say.
  private var given: [Int] = []
  private var pending: [Int] = []
  /// The text of ``given`` alone.
  private var givenText: [UInt8] = []

  public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
    self.tokenizer = tokenizer
    skipsSpecialTokens = skipSpecialTokens
  }

  /// Takes a token, and gives the text that is whole now: nothing while a character lacks bytes.
  ///
  /// - Throws: as ``Tokenizer/decode(_:skipSpecialTokens:)``; the token then counts as not given.
  public mutating func append(_ id: Int) throws -> String {
    let text = try tokenizer.core.bytes(of: given + pending + [id], skipsSpecialTokens)
    pending.append(id)
    // U+FFFD at the end: bytes of a character that is not whole yet.
    guard !text.suffix(3).elementsEqual([0xef, 0xbf, 0xbd]) else { return "" }
    return try give(text)
  }

  /// Gives what is left; bytes that are no character become U+FFFD.
  public mutating func finish() -> String {
    guard !pending.isEmpty,
      let text = try? tokenizer.core.bytes(of: given + pending, skipsSpecialTokens),
      let rest = try? give(text)
    else { return "" }
    return rest
  }

  private mutating func give(_ text: [UInt8]) throws -> String {
    guard text.starts(with: givenText), text.count > givenText.count else { return "" }
    let rest = String(decoding: text[givenText.count...], as: UTF8.self)
    given = pending
    pending = []
    givenText = try tokenizer.core.bytes(of: given, skipsSpecialTokens)
    return rest
  }
}
