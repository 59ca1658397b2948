// Text from text: whole characters, endings and stops, what a folder says, and mistakes.

import Apus
import ApusLanguage
import ApusText
import Foundation
import Testing

/// A small GPT-2 that knows one sentence by heart, and its folder.
private struct Parrot {
  static let sentence = "The naïve fox – 狐 – runs over the hill. "
  let model: GPT2
  let tokenizer: Tokenizer
  let folder: String

  init() throws {
    let text = String(repeating: Self.sentence, count: 12)
    tokenizer = try BPETrainer(vocabularySize: 290, includesAllBytes: true).train([text])
    let ids = try tokenizer.ids(of: [text], threads: 1)[0]
    model = GPT2(
      .init(
        vocabulary: tokenizer.idLimit, length: 64, width: 32, layers: 1, heads: 2, dropout: 0))
    try model.initialize(seed: 3)
    let rows = (0..<8).map { Array(ids[$0 * 3..<$0 * 3 + 33]) }
    let tokens = NDArray(rows.flatMap { $0.dropLast() }.map(Int32.init), shape: [8, 32])
    let next = NDArray(rows.flatMap { $0.dropFirst() }.map(Int32.init), shape: [8, 32])
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 1e-2)) {
      crossEntropy($0($1.tokens), $1.next)
    }
    for _ in 0..<150 { try step.run(Batch(["tokens": tokens, "next": next])) }
    folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    try model.save(folder: folder)
    try tokenizer.save(to: "\(folder)/tokenizer.json")
  }

  func write(_ text: String, to file: String = "generation_config.json") throws {
    try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(file)"))
  }
  func remove() { try? FileManager.default.removeItem(atPath: folder) }
}

@Suite struct TextGeneratorTests {
  @Test func aText_comesInWholeCharacters_andIsThatOfItsTokens() throws {
    let parrot = try Parrot()
    defer { parrot.remove() }
    let generator = try TextGenerator(folder: parrot.folder)
    #expect(generator.length == 64 && generator.settings == GenerationSettings())
    var settings = generator.settings
    settings.newTokens = 24
    var heard: [String] = []
    let found = try generator.generate("The naïve", settings: settings) { heard.append($0) }
    #expect(Parrot.sentence.hasPrefix("The naïve" + found.text.prefix(20)), "\(found.text)")
    #expect(heard.joined() == found.text && heard.count > 3)
    #expect(heard.allSatisfy { !$0.isEmpty && !$0.contains("\u{FFFD}") })
    #expect(found.ending == .length && found.tokens.count == 24)
    let ids = try parrot.tokenizer.ids(of: ["The naïve"], threads: 1)[0]
    #expect(found.promptCount == ids.count)
    let row = try TokenGenerator(parrot.model).continue([ids], by: 24)[0]
    #expect(found.tokens == Array(row[ids.count...]))
    #expect(try parrot.tokenizer.decode(found.tokens) == found.text)
  }

  @Test func endsAndStops_endAText_andAreNoPartOfIt() throws {
    let parrot = try Parrot()
    defer { parrot.remove() }
    let generator = try TextGenerator(parrot.model, tokenizer: parrot.tokenizer)
    let whole = try generator.generate("The", settings: .init(newTokens: 30))
    for (stops, stop) in [(["hill", "runs ov"], "runs ov"), (["– runs", "xyz"], "– runs")] {
      var heard = ""
      let found = try generator.generate("The", settings: .init(newTokens: 30, stops: stops)) {
        heard += $0
      }
      #expect(found.ending == .stop(stop))
      let place = try #require(whole.text.range(of: stop)).lowerBound
      #expect(found.text == String(whole.text[..<place]) && heard == found.text)
      #expect(found.tokens.count < 30 && whole.tokens.starts(with: found.tokens))
    }
    // What only looks like the beginning of a stop is told in the end.
    let last = String(whole.text.suffix(1))
    let held = try generator.generate("The", settings: .init(newTokens: 30, stops: [last + "§"]))
    #expect(held.text == whole.text && held.ending == .length)

    let end = whole.tokens[7]
    let ended = try generator.generate("The", settings: .init(newTokens: 30, ends: [end]))
    #expect(ended.ending == .end)
    let first = try #require(whole.tokens.firstIndex(of: end))
    #expect(ended.tokens == Array(whole.tokens[...first]))
    #expect(ended.text == (try parrot.tokenizer.decode(Array(whole.tokens[..<first]))))
  }

  @Test func beamsAndSeeds() throws {
    let parrot = try Parrot()
    defer { parrot.remove() }
    let generator = try TextGenerator(parrot.model, tokenizer: parrot.tokenizer)
    var heard = ""
    let beams = try generator.generate(
      "The", settings: .init(newTokens: 12, beams: BeamSearch(width: 3))
    ) { heard += $0 }
    let ids = try parrot.tokenizer.ids(of: ["The"], threads: 1)[0]
    let best = try TokenGenerator(parrot.model).search(ids, by: 12, beams: BeamSearch(width: 3))[0]
    #expect(beams.tokens == best.tokens && heard == beams.text)
    let hot = GenerationSettings(newTokens: 20, sampling: TokenSampling(temperature: 3))
    let one = try generator.generate("The", settings: hot, seed: 1)
    #expect(one == (try generator.generate("The", settings: hot, seed: 1)))
    #expect(one != (try generator.generate("The", settings: hot, seed: 2)))
  }

  @Test func settings_areReadAsHuggingFaceReadsThem() throws {
    func settings(_ text: String) throws -> GenerationSettings {
      try GenerationSettings(json: text, at: "generation_config.json")
    }
    let plain = try settings(#"{"eos_token_id": [3, 5], "bos_token_id": 1, "temperature": 0.6}"#)
    #expect(plain == GenerationSettings(ends: [3, 5], start: 1))
    let drawn = try settings(#"{"do_sample": true, "temperature": 0.6, "top_p": 0.9}"#)
    #expect(drawn.sampling == TokenSampling(temperature: 0.6, topK: 50, topP: 0.9))
    let own = try settings(
      #"{"do_sample": true, "top_k": 0, "min_p": 0.1, "repetition_penalty": 1.2, "top_p": null}"#)
    #expect(own.sampling == TokenSampling(minP: 0.1, repetitionPenalty: 1.2))
    let beams = try settings(
      #"{"num_beams": 4, "length_penalty": 2, "early_stopping": true, "max_new_tokens": 9}"#)
    #expect(
      beams.beams == BeamSearch(width: 4, lengthPenalty: 2, stopping: .whenFull)
        && beams.newTokens == 9)
    for (text, word) in [
      (#"{"eos_token_id": "x"}"#, "eos_token_id"), (#"{"do_sample": 1}"#, "do_sample"),
      (#"{"do_sample": true, "top_p": 2}"#, "top_p"), (#"{"num_beams": 0}"#, "num_beams"),
      (#"{"num_beams": 2, "do_sample": true}"#, "num_beams"),
      (#"{"no_repeat_ngram_size": 3}"#, "no_repeat_ngram_size"),
      (#"{"num_beams": 2, "early_stopping": "soon"}"#, "early_stopping"), ("[]", "object"),
      (#"{"max_new_tokens": -1}"#, "max_new_tokens"), ("{", "byte"),
    ] {
      let error = #expect(throws: ApusError.self) { _ = try settings(text) }
      #expect(error?.description.contains(word) == true, "\(String(describing: error))")
    }
  }

  @Test func aFoldersSettings_areTheDefault() throws {
    let parrot = try Parrot()
    defer { parrot.remove() }
    try parrot.write(#"{"max_new_tokens": 5, "bos_token_id": 40}"#)
    let generator = try TextGenerator(folder: parrot.folder + "/", length: 16)
    #expect(generator.length == 16)
    #expect(try generator.generate("The").tokens.count == 5)
    // Nothing to go on from but the token that begins a text.
    #expect(try generator.generate("").promptCount == 1)
  }

  @Test func mistakes_areTold() throws {
    let parrot = try Parrot()
    defer { parrot.remove() }
    let generator = try TextGenerator(parrot.model, tokenizer: parrot.tokenizer, length: 8)
    func error(_ body: () throws -> Void) -> String {
      #expect(throws: ApusError.self, performing: body)?.description ?? ""
    }
    #expect(error { _ = try generator.generate("") }.contains("no tokens"))
    #expect(error { _ = try generator.generate(Parrot.sentence) }.contains("at most 7"))
    #expect(
      error { _ = try generator.generate("The", settings: .init(stops: [""])) }.contains("stop"))
    #expect(
      error {
        _ = try generator.generate("The", settings: .init(sampling: .init(temperature: -1)))
      }.contains("temperature"))
    #expect(
      error {
        _ = try generator.generate("The", settings: .init(beams: BeamSearch(width: 0)))
      }.contains("0 beams"))
    struct Enough: Error {}
    #expect(throws: Enough.self) { _ = try generator.generate("The") { _ in throw Enough() } }

    try parrot.write(#"{"model_type": "mamba"}"#, to: "config.json")
    #expect(error { _ = try TextGenerator(folder: parrot.folder) }.contains("mamba"))
    try parrot.write("{", to: "config.json")
    #expect(error { _ = try TextGenerator(folder: parrot.folder) }.contains("config.json"))
    #expect(error { _ = try TextGenerator(folder: "/nonexistent") }.contains("config.json"))
    // A tokenizer of more tokens than the model has.
    let small = GPT2(.init(vocabulary: 4, length: 8, width: 8, layers: 1, heads: 1))
    try small.initialize()
    let other = try TextGenerator(small, tokenizer: parrot.tokenizer)
    #expect(error { _ = try other.generate("The naïve") }.contains("0 ..< 4"))
  }
}
