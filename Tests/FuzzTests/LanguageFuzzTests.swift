// Folders of encoders and of low-rank adapters, damaged, and extreme arguments: an error or a result, never a trap.

import Apus
import ApusLanguage
import Foundation
import TestSupport
import Testing

@Suite struct LanguageFuzzTests {
  private static let tests = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent()
  private static let encoder = tests.appending(path: "ApusLanguageTests/Fixtures/encoder")
  private static let reference = tests.appending(path: "ApusTrainingTests/Reference")

  private func withCopy(of folder: URL, _ body: (URL) throws -> Void) throws {
    let copy = FileManager.default.temporaryDirectory.appending(path: "apus-fuzz-\(UUID())")
    try FileManager.default.copyItem(at: folder, to: copy)
    defer { try? FileManager.default.removeItem(at: copy) }
    try body(copy)
  }

  /// A number, a word or a list in a JSON text replaced by something else of that kind, or bytes damaged.
  private static func damaged(_ bytes: [UInt8], _ random: inout SplitMix) -> [UInt8] {
    guard Bool.random(using: &random) else { return Mutation.mutated(bytes, with: bytes, &random) }
    let separators = Set("{}[],: \n".utf8)
    let words = bytes.split { separators.contains($0) }
    guard let from = words.randomElement(using: &random) else { return bytes }
    let values = [
      "0", "-1", "1", "null", "true", "9223372036854775807", "1e300", "\"\"", "[]", "{}",
    ]
    let to = values.randomElement(using: &random)!
    return Array(bytes[..<from.startIndex]) + Array(to.utf8) + Array(bytes[from.endIndex...])
  }

  @Test func damagedEncoders_areReadOrRefused() throws {
    let files = [
      "modules.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
      "sentence_bert_config.json", "config.json", "config_sentence_transformers.json",
    ]
    try withCopy(of: Self.encoder) { folder in
      let modules = #"""
        [{"path": "", "type": "sentence_transformers.models.Transformer"},
         {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
         {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
        """#
      let prompts = #"{"prompts": {"query": "a "}, "default_prompt_name": "query"}"#
      try Data(modules.utf8).write(to: folder.appending(path: files[0]))
      try Data(prompts.utf8).write(to: folder.appending(path: files[6]))
      let encoder = try SentenceEncoder(folder: folder.path)
      #expect(try encoder.encode(["the dog"]).shape == [1, 6])
      try Fuzz.run("encoders of sentences", rounds: 40) { random in
        let place = folder.appending(path: files.randomElement(using: &random)!)
        let good = try Data(contentsOf: place)
        defer { try? good.write(to: place) }
        try Data(Self.damaged([UInt8](good), &random)).write(to: place)
        do {
          let encoder = try SentenceEncoder(folder: folder.path)
          let vectors = try encoder.encode(["the dog", "", "a b c"])
          guard vectors.shape == [3, encoder.width] else { throw Fuzz.Wrong("\(vectors.type)") }
        } catch let error as ApusError {
          guard !error.what.isEmpty else { throw Fuzz.Wrong("an error without words") }
        }
      }
    }
  }

  @Test func damagedAdapters_areReadOrRefused() throws {
    let bert = try BERT(contentsOf: Self.reference.appending(path: "bert").path)
    try withCopy(of: Self.reference.appending(path: "low-rank")) { folder in
      try Fuzz.run("low-rank adapters", rounds: 200) { random in
        let file = ["adapter_config.json", "adapter_model.safetensors"].randomElement(
          using: &random)!
        let place = folder.appending(path: file)
        let good = try Data(contentsOf: place)
        defer { try? good.write(to: place) }
        try Data(Self.damaged([UInt8](good), &random)).write(to: place)
        do {
          let paths = try bert.loadLowRankAdapters(folder: folder.path)
          guard bert.removeLowRankAdapters() == paths.count else {
            throw Fuzz.Wrong("\(paths.count) layers are named")
          }
        } catch is ApusError {
          guard bert.lowRankAdapters.isEmpty else { throw Fuzz.Wrong("adapters are left behind") }
        }
      }
    }
  }

  @Test func damagedAnswerers_areReadOrRefused() throws {
    let folder = Self.tests.appending(path: "ApusLanguageTests/Fixtures/answerer")
    try withCopy(of: folder) { folder in
      try Fuzz.run("folders that answer", rounds: 40) { random in
        let file = ["config.json", "model.safetensors", "tokenizer.json"].randomElement(
          using: &random)!
        let place = folder.appending(path: file)
        let good = try Data(contentsOf: place)
        defer { try? good.write(to: place) }
        try Data(Self.damaged([UInt8](good), &random)).write(to: place)
        do {
          let answerer = try QuestionAnswerer(folder: folder.path)
          let text = String(repeating: "the cat reads a book. ", count: 12)
          for answer in try answerer.answers(to: "who?", in: text, count: 3)
          where text[answer.range] != answer.text {
            throw Fuzz.Wrong("\(answer)")
          }
        } catch let error as ApusError {
          guard !error.what.isEmpty else { throw Fuzz.Wrong("an error without words") }
        }
      }
    }
  }

  @Test func extremeArguments() throws {
    let answerer = try QuestionAnswerer(
      folder: Self.tests.appending(path: "ApusLanguageTests/Fixtures/answerer").path)
    let encoder = try SentenceEncoder(folder: Self.encoder.path)
    let model = Linear(3, 2)
    try model.initialize()
    func attempt(_ body: () throws -> Any) throws {
      do { _ = try body() } catch is ApusError {}
    }
    let numbers = [Int.min, -1, 0, 1, 2, 3, 40, 4096, 1 << 40, Int.max]
    try Fuzz.run("arguments of language", rounds: 60) { random in
      func n() -> Int { numbers.randomElement(using: &random)! }
      func d() -> Double { [0, -1, 1, 0.5, .nan, .infinity].randomElement(using: &random)! }
      let (a, b, c) = (n(), n(), n())
      try attempt { try encoder.encode(["a", "b c"], batch: a) }
      try attempt { try encoder.encode(.init(ids: [[a], [], [5, b]]), batch: 2) }
      try attempt { try encoder.tokens(of: ["a"], threads: a > 8 ? 1 : a) }
      try attempt {
        try SentenceEncoder(encoder.model, tokenizer: encoder.tokenizer, maximumLength: c)
          .maximumLength
      }
      try attempt { try answerer.answers(to: "who", in: "the cat", count: a, longest: b) }
      try attempt {
        try QuestionAnswerer(
          answerer.model, tokenizer: answerer.tokenizer, maximumLength: a, stride: b
        ).stride
      }
      try attempt {
        let few: [Float] = [0, 1, .infinity, -.infinity]
        return try answerSpans(
          starts: few, ends: few.reversed(), within: min(a, b)..<max(a, b), maximumLength: c,
          count: b)
      }
      let rows = NDArray([1, 0, 0, 1], shape: [2, 2])
      try attempt { try mostSimilarRows(to: rows, in: rows, count: a) }
      try attempt {
        try model.addLowRankAdapters(to: ["*"], rank: a, alpha: d(), dropout: d())
      }
      model.removeLowRankAdapters()
    }
  }
}
