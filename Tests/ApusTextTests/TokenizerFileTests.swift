// What a tokenizer's file may not say, and what its errors tell.

import ApusGraph
import Foundation
import Testing

@testable import ApusText

@Suite struct TokenizerFileTests {
  /// A small file with one member changed; nil takes it away.
  private func file(_ changes: KeyValuePairs<String, JSON?> = [:]) -> [UInt8] {
    var members: [(String, JSON)] = [
      ("version", "1.0"), ("truncation", nil), ("padding", nil), ("added_tokens", []),
      ("normalizer", nil), ("pre_tokenizer", .object([("type", "WhitespaceSplit")])),
      ("post_processor", nil), ("decoder", nil),
      (
        "model",
        .object([
          ("type", "WordLevel"), ("unk_token", "?"), ("vocab", .object([("a", 0), ("?", 1)])),
        ])
      ),
    ]
    for (name, value) in changes {
      members.removeAll { $0.0 == name }
      if let value { members.append((name, value)) }
    }
    return Array(JSON.object(members).text.utf8)
  }

  private func refusal(_ bytes: [UInt8]) -> ApusError? {
    do {
      _ = try Tokenizer(json: bytes, path: "t.json")
      return nil
    } catch { return error as? ApusError }
  }

  @Test func theSmallFileIsRead() throws {
    #expect(try Tokenizer(json: file()).encode("a b a").ids == [0, 1, 0])
  }

  /// The place of a mistake is the path of its field.
  @Test func mistakesAreNamedByTheirPaths() throws {
    func object(_ members: KeyValuePairs<String, JSON>) -> JSON { .object(members.map { $0 }) }
    let cases: [(KeyValuePairs<String, JSON?>, ApusError.Kind, String)] = [
      (["model": nil], .invalidFile, "the file"),
      (["version": "2.0"], .unsupported, "version"),
      (["extra": 1], .unsupported, "extra"),
      (["model": object(["type": "Char"])], .unsupported, "model.type"),
      (["normalizer": 3], .invalidFile, "normalizer"),
      (["normalizer": object(["type": "NFX"])], .unsupported, "normalizer.type"),
      (
        ["normalizer": object(["type": "Lowercase", "locale": "tr"])], .unsupported,
        "normalizer.locale"
      ),
      (
        [
          "pre_tokenizer": object([
            "type": "Sequence",
            "pretokenizers": [object(["type": "Whitespace"]), object(["type": "Magic"])],
          ])
        ], .unsupported, "pre_tokenizer.pretokenizers[1].type"
      ),
      (
        [
          "pre_tokenizer": object([
            "type": "Split", "pattern": object(["Regex": "(a"]), "behavior": "Isolated",
            "invert": false,
          ])
        ], .invalidFile, "pre_tokenizer.pattern.Regex"
      ),
      (
        ["pre_tokenizer": object(["type": "Punctuation", "behavior": "Sideways"])], .invalidFile,
        "pre_tokenizer.behavior"
      ),
      (
        ["pre_tokenizer": object(["type": "FixedLength", "length": 0])], .invalidFile,
        "pre_tokenizer.length"
      ),
      (["decoder": object(["type": "Strip", "content": "ab"])], .invalidFile, "decoder.content"),
      (
        [
          "post_processor": object([
            "type": "TemplateProcessing", "special_tokens": .object([]), "pair": [],
            "single": [object(["SpecialToken": object(["id": "[CLS]", "type_id": 0])])],
          ])
        ], .invalidFile, "post_processor.single[0].SpecialToken.id"
      ),
      (
        [
          "model": object([
            "type": "BPE", "vocab": object(["a": 0, "b": 1]), "merges": ["a b"],
          ])
        ], .invalidFile, "model.merges[0]"
      ),
      (
        ["model": object(["type": "BPE", "vocab": object(["a": -1]), "merges": []])], .outOfRange,
        "model.vocab.a"
      ),
      (
        [
          "model": object([
            "type": "BPE", "dropout": 0.1, "vocab": object(["a": 0]), "merges": [],
          ])
        ], .unsupported, "model.dropout"
      ),
      (
        ["model": object(["type": "Unigram", "unk_id": 1, "vocab": [["a", -1]]])], .outOfRange,
        "model.unk_id"
      ),
      (
        ["padding": object(["strategy": object(["Fixed": -1])])], .invalidFile, "padding.strategy"
      ),
      (
        [
          "added_tokens": [
            object([
              "id": 7, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
              "normalized": false, "special": true,
            ])
          ]
        ], .invalidFile, "added_tokens[0].id"
      ),
    ]
    for (changes, kind, place) in cases {
      let error = try #require(refusal(file(changes)), Comment(rawValue: place))
      #expect(error.kind == kind, "\(error)")
      #expect(error.location == "t.json, \(place)", "\(error)")
      #expect(error.expected != nil, "\(error)")
    }
  }

  @Test func aFileThatIsCutShortIsRefusedWithItsByte() throws {
    let whole = try bytes(Fixture.path("byte-level.json"))
    for length in [0, 1, 100, whole.count / 2, whole.count - 1] {
      let error = try #require(refusal(Array(whole[..<length])))
      #expect(error.kind == .invalidFile && error.location!.hasPrefix("t.json, byte "), "\(error)")
    }
  }

  @Test func idsBeyondTheVocabularyAreRefused() throws {
    let tokenizer = try Tokenizer(json: file())
    for id in [2, -1, .max, .min, 1 << 40] {
      #expect(throws: ApusError.self) { try tokenizer.decode([0, id]) }
      #expect(tokenizer.idToToken(id) == nil)
    }
    var decoder = StreamingDecoder(tokenizer)
    #expect(throws: ApusError.self) { try decoder.append(2) }
    #expect(try decoder.append(0) == "a")
  }

  @Test func aWordWithoutATokenIsAnErrorWhereThereIsNoneForIt() throws {
    let model = JSON.object([
      ("type", "WordLevel"), ("unk_token", "?"), ("vocab", .object([("a", 0)])),
    ])
    let tokenizer = try Tokenizer(json: file(["model": model]))
    #expect(try tokenizer.encode("a").ids == [0])
    let error = #expect(throws: ApusError.self) { try tokenizer.encode("b") }
    #expect(error?.kind == .missing && error?.location == "model.unk_token")
  }

  /// A pattern that goes back and forth for ever is given up.
  @Test func aSearchThatTakesForEverIsGivenUp() throws {
    let pattern = JSON.object([
      ("type", "Split"), ("pattern", .object([("Regex", "(?:x+x+)+y")])),
      ("behavior", "Isolated"), ("invert", false),
    ])
    let tokenizer = try Tokenizer(json: file(["pre_tokenizer": pattern]))
    let error = #expect(throws: ApusError.self) {
      try tokenizer.encode(String(repeating: "x", count: 60))
    }
    #expect(error?.kind == .resource)
  }

  @Test func truncationThatMakesNoSenseIsRefused() throws {
    var tokenizer = try Fixture.tokenizer("wordpiece")
    for (length, stride) in [(-1, 0), (5, 5), (5, 3), (4, -1)] {
      #expect(throws: ApusError.self) {
        try tokenizer.enableTruncation(TokenTruncation(maximumLength: length, stride: stride))
      }
    }
    for padding in [
      TokenPadding(length: .fixed(.max)), TokenPadding(id: -1), TokenPadding(multiple: -2),
    ] {
      #expect(throws: ApusError.self) { try tokenizer.enablePadding(padding) }
    }
    try tokenizer.enableTruncation(TokenTruncation(maximumLength: 6, stride: 2))
    try tokenizer.enablePadding(TokenPadding(length: .fixed(8)))
    let encoding = try tokenizer.encode("the dog and the fox")
    #expect(encoding.count == 8 && encoding.attentionMask.reduce(0, +) == 6)
    #expect(throws: ApusError.self) { try tokenizer.encodeBatch(["a"], threads: 0) }
  }

  @Test func addedTokensAreFoundInTexts() throws {
    var tokenizer = try Tokenizer(json: file())
    #expect(try tokenizer.addTokens([AddedToken("b c"), AddedToken("a")]) == 2)
    #expect(try tokenizer.addSpecialTokens(["<end>", "<end>"]) == 1)
    #expect(tokenizer.tokenToID("b c") == 2 && tokenizer.tokenToID("a") == 0)
    #expect(tokenizer.vocabularySize == 4 && tokenizer.idLimit == 4)
    #expect(try tokenizer.encode("xb c<end>a").tokens == ["?", "b c", "<end>", "a"])
    #expect(try tokenizer.decode([0, 3, 2]) == "a b c")
    #expect(try tokenizer.decode([0, 3], skipSpecialTokens: false) == "a <end>")
    #expect(tokenizer.addedTokens.map(\.id) == [0, 2, 3])
  }
}
