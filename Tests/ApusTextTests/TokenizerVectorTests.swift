// Tokenizers against what the Python package tokenizers 0.23.3 made of the same texts.

import ApusGraph
import Testing

@testable import ApusText

@Suite struct TokenizerVectorTests {
  static let names = [
    "byte-level", "llama-3", "o200k", "wordpiece", "unigram", "unigram-unknown", "llama-2",
    "metaspace", "word-level", "suffix", "precompiled",
  ]

  @Test(arguments: names) func encodingsAreThoseOfThePythonPackage(name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    let lines = try Fixture.lines("vectors").filter { $0["tokenizer"]?.string == name }
    #expect(lines.count > 60)
    for line in lines {
      let text = line["text"]!.string!
      let encoding = try tokenizer.encode(text)
      let shown = Comment(rawValue: text.debugDescription)
      #expect(encoding.ids == line["ids"]!.integers, shown)
      #expect(encoding.flatOffsets == line["offsets"]!.integers, shown)
      #expect(encoding.wordIDs.map { $0 ?? -1 } == line["words"]!.integers, shown)
      #expect(try tokenizer.ids(of: text) == encoding.ids, shown)
      #expect(
        try tokenizer.ids(of: text, addSpecialTokens: false).count == line["plain"]!.integer, shown)
      #expect(try same(tokenizer.decode(encoding.ids), line["decoded"]!.string), shown)
      #expect(
        try same(tokenizer.decode(encoding.ids, skipSpecialTokens: false), line["whole"]!.string),
        shown)
      for (token, wanted) in zip(encoding.tokens, line["tokens"]!.elements!) {
        #expect(same(token, wanted.string), shown)
      }
    }
  }

  @Test(arguments: names) func batchesAreTheSameForAnyNumberOfThreads(name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    let texts = try Fixture.lines("vectors").filter { $0["tokenizer"]?.string == name }
      .map { $0["text"]!.string! }
    let one = try texts.map { try tokenizer.encode($0) }
    for threads in [1, 2, 5] {
      let batch = try tokenizer.encodeBatch(texts, threads: threads)
      #expect(batch.map(\.ids) == one.map(\.ids))
      #expect(batch.map(\.offsets) == one.map(\.offsets))
      #expect(try tokenizer.ids(of: texts, threads: threads) == one.map(\.ids))
    }
  }

  @Test(arguments: names) func aSavedTokenizerHasTheSameContent(name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    let path = TemporaryPath()
    try tokenizer.save(to: path.path)
    let saved = try JSON(parsing: bytes(path.path))
    let original = try JSON(parsing: bytes(Fixture.path("\(name).json")))
    #expect(sorted(saved) == sorted(original))
    let again = try Tokenizer(file: path.path)
    #expect(try again.encode("Hello, world").ids == tokenizer.encode("Hello, world").ids)
  }

  /// Members of objects have no order.
  private func sorted(_ value: JSON) -> JSON {
    switch value {
    case .object(let members):
      .object(members.map { ($0.0, sorted($0.1)) }.sorted { ByteKey($0.0) < ByteKey($1.0) })
    case .array(let elements): .array(elements.map(sorted))
    default: value
    }
  }

  private struct ByteKey: Comparable {
    let bytes: [UInt8]
    init(_ text: String) { bytes = Array(text.utf8) }
    static func < (a: ByteKey, b: ByteKey) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
  }

  @Test func truncationAndPaddingAreThoseOfThePythonPackage() throws {
    let lines = try Fixture.lines("lengths")
    #expect(lines.count > 300)
    var tokenizers: [String: Tokenizer] = [:]
    for name in ["wordpiece", "llama-3", "unigram"] {
      tokenizers[name] = try Fixture.tokenizer(name)
    }
    for line in lines {
      let base = tokenizers[line["tokenizer"]!.string!]!
      // As a file says it, so that what files may say is what is compared.
      var file = base.json.members!
      file = file.map { name, value in
        switch name {
        case "truncation": (name, line["file"]!)
        case "padding": (name, line["padding"]!)
        default: (name, value)
        }
      }
      let tokenizer = try Tokenizer(json: Array(JSON.object(file).text.utf8))
      let texts = line["texts"]!.elements!
      let shown = Comment(rawValue: "\(line["file"]!.text) \(line["texts"]!.text)")
      guard let parts = line["parts"]!.elements else {
        #expect(throws: ApusError.self, shown) {
          try tokenizer.encode(texts[0].string!, pair: texts[1].string)
        }
        continue
      }
      let encoding = try tokenizer.encode(texts[0].string!, pair: texts[1].string)
      let ours = [encoding] + encoding.overflowing
      #expect(ours.count == parts.count, shown)
      for (part, wanted) in zip(ours, parts) {
        #expect(part.ids == wanted["ids"]!.integers, shown)
        #expect(part.typeIDs == wanted["types"]!.integers, shown)
        #expect(part.specialTokensMask == wanted["special"]!.integers, shown)
        #expect(part.attentionMask == wanted["attention"]!.integers, shown)
        #expect(part.flatOffsets == wanted["offsets"]!.integers, shown)
        #expect(part.sequenceIDs.map { $0 ?? -1 } == wanted["sequences"]!.integers, shown)
      }
    }
  }
}
