// Ranks against what the library tiktoken made of the same texts.

import ApusGraph
import Testing

@testable import ApusText

@Suite struct TiktokenTests {
  private func tokenizer(_ pattern: TiktokenPattern) throws -> Tokenizer {
    try Tokenizer(
      tiktoken: Fixture.path("ranks.tiktoken"), pattern: pattern,
      specialTokens: ["<|end|>": 1000, "<|pad|>": 700])
  }

  @Test(arguments: TiktokenPattern.allCases) func idsAreTiktokens(pattern: TiktokenPattern) throws {
    let tokenizer = try tokenizer(pattern)
    let lines = try Fixture.lines("tiktoken").filter { $0["pattern"]!.string == pattern.rawValue }
    #expect(lines.count > 100)
    for line in lines {
      let text = line["text"]!.string!
      let ids = try tokenizer.encode(text).ids
      #expect(ids == line["ids"]!.integers, Comment(rawValue: text.debugDescription))
      #expect(same(text, try tokenizer.decode(ids, skipSpecialTokens: false)))
    }
  }

  /// Oniguruma reads the patterns that are written into files as the hand-written splitters do.
  @Test(arguments: TiktokenPattern.allCases)
  func aSavedTokenizerHasTheSameIDs(pattern: TiktokenPattern) throws {
    let tokenizer = try tokenizer(pattern)
    let path = TemporaryPath()
    try tokenizer.save(to: path.path)
    let saved = try Tokenizer(file: path.path)
    let regex = try Regex(pattern.expression, at: "here")
    let known = try #require(KnownPattern(expression: pattern.expression))
    for line in try Fixture.lines("tiktoken") {
      let text = line["text"]!.string!
      #expect(try saved.encode(text).ids == tokenizer.encode(text).ids)
      // Scalars newer than the installed Oniguruma are classed otherwise by it.
      guard text.unicodeScalars.allSatisfy({ $0.value < 0x3000 && $0.properties.age != nil }),
        text.unicodeScalars.allSatisfy({ $0.properties.age!.major < 13 })
      else { continue }
      let bytes = Array(text.utf8)
      let byRegex = try Pattern.regex(regex).matches(in: bytes)
      #expect(try Pattern.known(known, source: "").matches(in: bytes) == byRegex)
    }
  }

  @Test func linesThatAreNoRanksAreNamed() throws {
    let good = try bytes(Fixture.path("ranks.tiktoken"))
    func error(_ text: String, specials: [String: Int] = [:]) -> ApusError? {
      #expect(throws: ApusError.self) {
        try Tokenizer(
          tiktokenRanks: good + Array(text.utf8), pattern: .gpt2, specialTokens: specials)
      }
    }
    let count = good.count { $0 == 0x0a }
    for text in ["???? 5000", "aGVsbG8=", "aGVsbG8= x", "aGVsbG8= -1", "aGVsbG8= 99999999999"] {
      #expect(error(text)?.location == "<bytes>, line \(count + 1)")
    }
    #expect(error("IQ== 5000")?.what.contains("before") == true)
    #expect(error("", specials: ["<x>": 3])?.kind == .invalidArgument)
    let missing = #expect(throws: ApusError.self) {
      try Tokenizer(tiktokenRanks: Array("IQ== 0\n".utf8), pattern: .gpt2)
    }
    #expect(missing?.kind == .missing)
  }
}
