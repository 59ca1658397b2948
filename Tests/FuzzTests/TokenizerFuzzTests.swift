// Tokenizers from damaged files, and texts of any scalars: an error or a result, never a trap.

import ApusGraph
import ApusText
import Foundation
import TestSupport
import Testing

@Suite struct TokenizerFuzzTests {
  private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ApusTextTests/Fixtures")
  private static let names = [
    "word-level", "wordpiece", "suffix", "o200k", "llama-3", "unigram-unknown",
  ]

  @Test func damagedTokenizers_areReadOrRefused() throws {
    let files = try Self.names.map {
      [UInt8](try Data(contentsOf: Self.fixtures.appending(path: "\($0).json")))
    }
    try Fuzz.run("tokenizers", rounds: 60) { random in
      let good = files.randomElement(using: &random)!
      let bytes =
        Bool.random(using: &random)
        ? Self.edited(good, &random) : Mutation.mutated(good, with: good, &random)
      do {
        let tokenizer = try Tokenizer(json: bytes)
        try Self.use(tokenizer, &random)
      } catch let error as ApusError {
        guard !error.what.isEmpty else { throw Fuzz.Wrong("an error without words") }
      }
    }
  }

  /// A word of the file replaced by another of its words, so that much stays a tokenizer.
  private static func edited(_ bytes: [UInt8], _ random: inout SplitMix) -> [UInt8] {
    let separators = Set("{}[],:".utf8)
    var words = bytes.split { separators.contains($0) }
    guard let from = words.randomElement(using: &random) else { return bytes }
    words += [
      Array("0".utf8)[...], Array("-1".utf8)[...], Array("null".utf8)[...],
      Array("4294967295".utf8)[...], Array("true".utf8)[...], Array("\"\"".utf8)[...],
      Array("1e300".utf8)[...],
    ]
    let to = words.randomElement(using: &random)!
    return Array(bytes[..<from.startIndex]) + Array(to) + Array(bytes[from.endIndex...])
  }

  private static func use(_ tokenizer: Tokenizer, _ random: inout SplitMix) throws {
    for _ in 0..<3 {
      let text = Self.text(&random)
      let encoding: Encoding
      do {
        encoding = try tokenizer.encode(text, pair: Bool.random(using: &random) ? "b c" : nil)
      } catch is ApusError { continue }
      let count = encoding.count
      guard encoding.offsets.count == count, encoding.wordIDs.count == count,
        encoding.typeIDs.count == count, encoding.attentionMask.count == count,
        encoding.tokens.count == count
      else { throw Fuzz.Wrong("lists of two lengths") }
      guard encoding.offsets.allSatisfy({ $0.lowerBound >= 0 }) else {
        throw Fuzz.Wrong("an offset below 0")
      }
      _ = try? tokenizer.decode(encoding.ids)
      _ = try? tokenizer.decode([Int.random(in: -2...1000, using: &random), .max])
    }
  }

  private static func text(_ random: inout SplitMix) -> String {
    var text = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0...30, using: &random) {
      let code =
        Bool.random(using: &random)
        ? UInt32.random(in: 0...0x250, using: &random)
        : UInt32.random(in: 0...0x10ffff, using: &random)
      if let scalar = Unicode.Scalar(code) { text.append(scalar) }
    }
    return String(text)
  }

  @Test func damagedRanks_areReadOrRefused() throws {
    let good = [UInt8](try Data(contentsOf: Self.fixtures.appending(path: "ranks.tiktoken")))
    try Fuzz.run("ranks", rounds: 40) { random in
      do {
        let tokenizer = try Tokenizer(
          tiktokenRanks: Mutation.mutated(good, with: good, &random),
          pattern: TiktokenPattern.allCases.randomElement(using: &random)!,
          specialTokens: ["<x>": Int.random(in: -2...2000, using: &random)])
        try Self.use(tokenizer, &random)
      } catch is ApusError {}
    }
  }

  @Test func extremeNumbers_giveTokenizersOrErrors() throws {
    let extremes = [0, 1, -1, 3, 300, .max, .min, 1 << 31, 1 << 40]
    let base = try Tokenizer(file: Self.fixtures.appending(path: "wordpiece.json").path)
    try Fuzz.run("tokenizers' numbers", rounds: 150) { random in
      func number() -> Int { extremes.randomElement(using: &random)! }
      var tokenizer = base
      do {
        try tokenizer.enableTruncation(
          TokenTruncation(maximumLength: number(), stride: number()))
      } catch is ApusError {}
      do {
        try tokenizer.enablePadding(
          TokenPadding(
            length: .fixed(min(number(), 1000)), id: number(), typeID: number(),
            multiple: min(number(), 64)))
      } catch is ApusError {}
      try Self.use(tokenizer, &random)
      do {
        _ = try BPETrainer(
          vocabularySize: min(number(), 1 << 40), minimumFrequency: number(),
          maximumTokenLength: number()
        ).train([Self.text(&random), "a a a b b"])
      } catch is ApusError {}
      do {
        _ = try tokenizer.encodeBatch(["a", "b", "c"], threads: min(number(), 4))
      } catch is ApusError {}
    }
  }
}
