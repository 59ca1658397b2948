// Vectors of texts are those of sentence-transformers (Fixtures/make.py), in whatever batches; bad folders are told.

import Apus
import ApusText
import Foundation
import Testing

@testable import ApusLanguage

@Suite struct SentenceEncoderTests {
  private func expectClose(
    _ found: NDArray, _ expected: [[Double]], _ what: String, tolerance: Double = 2e-5
  ) {
    #expect(found.shape == [expected.count, expected[0].count], "\(what)")
    for (number, (a, b)) in zip(found.doubles, expected.joined()).enumerated()
    where !(abs(a - b) <= tolerance * max(1, abs(b))) {
      Issue.record("\(what): \(a), not \(b), at \(number)")
      return
    }
  }

  @Test func vectorsAreThoseOfSentenceTransformers() throws {
    let (texts, vectors) = try Fixture.vectors()
    let encoder = try SentenceEncoder(folder: Fixture.encoder)
    #expect(encoder.width == 16 && encoder.maximumLength == 40 && encoder.model.isNormalized)
    #expect(encoder.ignoredArrays == ["embeddings.position_ids"])
    for batch in [1, 3, 4, 32] {
      try expectClose(
        encoder.encode(texts, batch: batch), #require(vectors["mean, normalized"]), "by \(batch)")
    }
  }

  @Test(arguments: [
    ("cls_token", "cls"), ("max_tokens", "max"), ("mean_tokens", "mean"),
    ("mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
  ])
  func poolingIsThatOfTheFile(mode: String, name: String) throws {
    let (texts, vectors) = try Fixture.vectors()
    let folder = try FolderCopy()
    try folder.writeModules(("Pooling", "1_Pooling"))
    try folder.writePooling(mode)
    let expected = try #require(vectors[name])
    let encoder = try SentenceEncoder(folder: folder.path)
    #expect(!encoder.model.isNormalized)
    try expectClose(encoder.encode(texts), expected, mode)
    // The form of newer files.
    try folder.write(
      #"{"embedding_dimension": 16, "pooling_mode": "\#(name)", "include_prompt": true}"#,
      to: "1_Pooling/config.json")
    try expectClose(SentenceEncoder(folder: folder.path).encode(texts), expected, name)
  }

  @Test func severalPoolingsStandSideBySide_andProductsBehindThem() throws {
    let (texts, vectors) = try Fixture.vectors()
    let folder = try FolderCopy()
    try folder.writeModules(("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    try folder.writePooling("mean_tokens", "max_tokens")
    let both = try SentenceEncoder(folder: folder.path)
    #expect(both.width == 32)
    try expectClose(both.encode(texts), #require(vectors["mean and max"]), "mean and max")
    try folder.writeModules(("Pooling", "1_Pooling"), ("Dense", "2_Dense"))
    try folder.writePooling("mean_tokens")
    let dense = try SentenceEncoder(folder: folder.path)
    #expect(dense.width == 6)
    try expectClose(dense.encode(texts), #require(vectors["dense"]), "dense")
  }

  @Test func aPlainFolder_hasMeansOfItsTokens_cutAsTheTokenizerSays() throws {
    let (texts, vectors) = try Fixture.vectors()
    let folder = try FolderCopy()
    for file in ["modules.json", "sentence_bert_config.json", "1_Pooling", "2_Dense"] {
      try folder.remove(file)
    }
    let encoder = try SentenceEncoder(folder: folder.path)
    #expect(encoder.maximumLength == 12 && !encoder.model.isNormalized)
    let tokens = try encoder.tokens(of: texts)
    let full = try SentenceEncoder(folder: Fixture.encoder).tokens(of: texts)
    #expect(tokens.truncated == texts.indices.filter { full.ids[$0].count > 12 })
    let short = texts.indices.filter { !tokens.truncated.contains($0) }
    try expectClose(
      encoder.encode(short.map { texts[$0] }),
      short.map { try #require(vectors["mean"])[$0] }, "mean")
  }

  @Test func longTextsAreCut_andTold() throws {
    let encoder = try SentenceEncoder(folder: Fixture.encoder)
    let long = String(repeating: "the cat ", count: 100)
    let tokens = try encoder.tokens(of: ["the dog", long, "", long])
    #expect(tokens.truncated == [1, 3])
    #expect(tokens.ids.map(\.count) == [4, 40, 2, 40])
    let whole = try encoder.tokenizer.ids(of: long)
    #expect(tokens.ids[1] == Array(whole.prefix(39)) + [try #require(whole.last)])
  }

  @Test func aTextsVector_doesNotDependOnTheOthers() throws {
    let encoder = try SentenceEncoder(folder: Fixture.encoder)
    let (texts, _) = try Fixture.vectors()
    let all = try encoder.encode(texts + texts.reversed(), batch: 7)
    let width = encoder.width
    for (number, text) in texts.enumerated() {
      let alone = try encoder.encode([text]).floats
      for row in [number, 2 * texts.count - 1 - number] {
        for (a, b) in zip(alone, all.floats[row * width..<(row + 1) * width]) {
          #expect(abs(a - b) < 2e-6)
        }
      }
    }
    #expect(try encoder.encode([]).shape == [0, 16])
  }

  @Test func textsOfOneLengthGoTogether() {
    #expect(SentenceEncoder.cuts([], 32) == [])
    #expect(SentenceEncoder.cuts([Int](repeating: 10, count: 70), 32) == [32, 32, 4, 2])
    // One long text is not what seven short ones are padded to.
    #expect(SentenceEncoder.cuts([100] + [Int](repeating: 10, count: 8), 32) == [1, 8])
    // A step for each would cost more than a little padding.
    #expect(SentenceEncoder.cuts([12, 11, 10, 9], 8) == [4])
    #expect(SentenceEncoder.cuts([5, 5, 5, 5, 5], 3) == [3, 2])
    #expect(SentenceEncoder.cuts([9, 7, 5], 1) == [1, 1, 1])
    for count in 1...600 {
      let length = SentenceEncoder.length(for: count)
      #expect(length >= count && (length - count) * 8 <= max(count, 8))
      #expect(SentenceEncoder.length(for: length) == length)
    }
    #expect(Set((1...512).map(SentenceEncoder.length)).count == 48)
  }

  @Test func progressIsTold_andMayEndIt() throws {
    struct Enough: Error {}
    let encoder = try SentenceEncoder(folder: Fixture.encoder)
    let tokens = try encoder.tokens(of: Array(repeating: "the dog", count: 10))
    var counts: [Int] = []
    _ = try encoder.encode(tokens, batch: 4) { counts.append($0) }
    #expect(counts == [4, 4, 2])
    #expect(throws: Enough.self) { try encoder.encode(tokens, batch: 4) { _ in throw Enough() } }
  }

  @Test func promptsStandBeforeTexts() throws {
    let folder = try FolderCopy()
    try folder.write(
      #"{"prompts": {"query": "red ", "none": ""}, "default_prompt_name": "query"}"#,
      to: "config_sentence_transformers.json")
    let encoder = try SentenceEncoder(folder: folder.path)
    #expect(encoder.defaultPrompt == "query")
    let plain = try SentenceEncoder(folder: Fixture.encoder)
    #expect(try encoder.encode(["house"]) == plain.encode(["red house"]))
    #expect(try encoder.encode(["house"], prompt: "none") == plain.encode(["house"]))
    expectError(.missing, "'passage'", "none, query") {
      _ = try encoder.encode(["house"], prompt: "passage")
    }
    expectError(.missing, "'query'", "no prompts") {
      _ = try plain.encode(["house"], prompt: "query")
    }
  }

  @Test func anEncoderOfPartsAtHand_readsTheirNewestValues() throws {
    let read = try SentenceEncoder(folder: Fixture.encoder)
    let model = SentenceModel(read.model.encoder, pooling: .cls, isNormalized: false)
    let encoder = try SentenceEncoder(model, tokenizer: read.tokenizer, maximumLength: 20)
    let before = try encoder.encode(["the dog"])
    let bias = try #require(
      model.parameters.first { $0.path.hasSuffix("layer.1.output.LayerNorm.bias") })
    try bias.parameter.set(NDArray(bias.parameter.value().floats.map { $0 + 1 }, shape: [16]))
    let after = try encoder.encode(["the dog"])
    for (a, b) in zip(before.floats, after.floats) { #expect(abs(a + 1 - b) < 1e-5) }
    expectError(.invalidArgument, "49 tokens", "48") {
      _ = try SentenceEncoder(model, tokenizer: read.tokenizer, maximumLength: 49)
    }
    expectError(.invalidArgument, "2 tokens") {
      _ = try SentenceEncoder(model, tokenizer: read.tokenizer, maximumLength: 2)
    }
    expectError(.missing, "has no value") {
      _ = try SentenceEncoder(
        SentenceModel(BERT(model.encoder.configuration)), tokenizer: read.tokenizer)
    }
  }

  @Test func whatCannotBeEncoded_isTold() throws {
    let encoder = try SentenceEncoder(folder: Fixture.encoder)
    expectError(.invalidArgument, "batches of 0") { _ = try encoder.encode(["a"], batch: 0) }
    expectError(.invalidArgument, "batches of 5000") { _ = try encoder.encode([], batch: 5000) }
    expectError(.outOfRange, "text 1", "token 9999") {
      _ = try encoder.encode(.init(ids: [[2, 3], [2, 9999]]))
    }
    expectError(.outOfRange, "text 0", "token -1") { _ = try encoder.encode(.init(ids: [[-1]])) }
    expectError(.invalidArgument, "text 0 has 41 tokens", "40") {
      _ = try encoder.encode(.init(ids: [[Int](repeating: 5, count: 41)]))
    }
    // A row without tokens is zeros: there is nothing to average.
    #expect(try encoder.encode(.init(ids: [[], [2, 3]])).floats[..<16].allSatisfy { $0 == 0 })
  }

  // MARK: Folders

  @Test func foldersThatAreNone_areTold() throws {
    expectError(.io, "no weights", "/nowhere") {
      _ = try SentenceEncoder(folder: "/nowhere")
    }
    let folder = try FolderCopy()
    try folder.remove("tokenizer.json")
    expectError(.io, "tokenizer.json") { _ = try SentenceEncoder(folder: folder.path) }
  }

  @Test func modulesThatAreNotKnown_areNamed() throws {
    let folder = try FolderCopy()
    func refused(_ kind: ApusError.Kind, _ words: String...) {
      do {
        _ = try SentenceEncoder(folder: folder.path)
        Issue.record("read: \(words)")
      } catch let error as ApusError {
        #expect(error.kind == kind, "\(error)")
        for word in words { #expect("\(error)".contains(word), "\(error)") }
      } catch { Issue.record("\(error)") }
    }
    try folder.writeModules(("Pooling", "1_Pooling"), ("LayerNorm", "2_LayerNorm"))
    refused(.unsupported, "module 2", "'2_LayerNorm'", "models.LayerNorm", "Dense or")
    try folder.writeModules(("CNN", "1_CNN"))
    refused(.unsupported, "module 1", "models.CNN", "Pooling")
    try folder.writeModules(("Pooling", "../other"))
    refused(.invalidFile, "'../other'")
    try folder.write("[]", to: "modules.json")
    refused(.unsupported, "0 modules")
    try folder.write("{}", to: "modules.json")
    refused(.invalidFile, "no list")
    try folder.write("[{", to: "modules.json")
    refused(.invalidFile, "modules.json, byte 2")
    try folder.write(#"[{"path": "", "type": "custom.Transformer"}]"#, to: "modules.json")
    refused(.unsupported, "custom.Transformer")
  }

  @Test func poolingsThatAreNotKnown_areNamed() throws {
    let folder = try FolderCopy()
    func refused(_ kind: ApusError.Kind, _ words: String...) {
      do {
        _ = try SentenceEncoder(folder: folder.path)
        Issue.record("read: \(words)")
      } catch let error as ApusError {
        #expect(error.kind == kind, "\(error)")
        for word in words { #expect("\(error)".contains(word), "\(error)") }
      } catch { Issue.record("\(error)") }
    }
    try folder.writePooling("lasttoken")
    refused(.unsupported, "'pooling_mode_lasttoken'", "1_Pooling/config.json", "mean_tokens")
    try folder.writePooling("weightedmean_tokens", "mean_tokens")
    refused(.unsupported, "'pooling_mode_weightedmean_tokens'")
    try folder.writePooling()
    refused(.invalidFile, "no mode of pooling")
    try folder.writePooling("cls_token", more: #", "word_embedding_dimension": 384"#)
    refused(.shapeMismatch, "384", "16")
    try folder.writePooling("cls_token", more: #", "include_prompt": false"#)
    refused(.unsupported, "'include_prompt'")
    try folder.write(#"{"pooling_mode": "lasttoken"}"#, to: "1_Pooling/config.json")
    refused(.unsupported, "lasttoken")
    try folder.remove("1_Pooling/config.json")
    refused(.io, "1_Pooling/config.json")
  }

  @Test func settingsThatDoNotFit_areTold() throws {
    func refused(_ kind: ApusError.Kind, _ words: [String], _ change: (FolderCopy) throws -> Void)
      throws
    {
      let folder = try FolderCopy()
      try change(folder)
      do {
        _ = try SentenceEncoder(folder: folder.path)
        Issue.record("read: \(words)")
      } catch let error as ApusError {
        #expect(error.kind == kind, "\(error)")
        for word in words { #expect("\(error)".contains(word), "\(error)") }
      }
    }
    try refused(.unsupported, ["'do_lower_case'"]) {
      try $0.write(#"{"do_lower_case": true}"#, to: "sentence_bert_config.json")
    }
    try refused(.invalidFile, ["'max_seq_length' is 0"]) {
      try $0.write(#"{"max_seq_length": 0}"#, to: "sentence_bert_config.json")
    }
    try refused(.invalidFile, ["2 tokens", "special"]) {
      try $0.write(#"{"max_seq_length": 2}"#, to: "sentence_bert_config.json")
    }
    try refused(.invalidFile, ["\"query\"", "null"]) {
      try $0.write(
        #"{"default_prompt_name": "query"}"#, to: "config_sentence_transformers.json")
    }
    try refused(.shapeMismatch, ["'in_features' is 17", "16"]) {
      try $0.writeModules(("Pooling", "1_Pooling"), ("Dense", "2_Dense"))
      try $0.write(#"{"in_features": 17, "out_features": 6}"#, to: "2_Dense/config.json")
    }
    try refused(.unsupported, ["activation_function", "Mish"]) {
      try $0.writeModules(("Pooling", "1_Pooling"), ("Dense", "2_Dense"))
      try $0.write(
        #"{"in_features": 16, "out_features": 6, "activation_function": "torch.nn.Mish"}"#,
        to: "2_Dense/config.json")
    }
    // More positions asked for than there are: the model's count.
    let folder = try FolderCopy()
    try folder.write(#"{"max_seq_length": 4096}"#, to: "sentence_bert_config.json")
    #expect(try SentenceEncoder(folder: folder.path).maximumLength == 48)
  }

  /// The published model, where its folder is at hand: within 1e-5 of what the Python package makes of 200 sentences.
  /// `Fixtures/make.py --folder FOLDER LINES FOLDER/vectors.json` writes those.
  @Test(.enabled(if: !minilm.isEmpty, "APUS_MINILM names no folder of all-MiniLM-L6-v2"))
  func minilm_isWithinRoundingsOfSentenceTransformers() throws {
    let json = try JSON(parsing: TextFile.bytes("\(minilm)/vectors.json"))
    let texts = json["texts"]!.elements!.map { $0.string! }
    let encoder = try SentenceEncoder(folder: minilm)
    #expect(encoder.maximumLength == 256)
    let found = try encoder.encode(texts)
    for (row, expected) in json["vectors"]!.elements!.enumerated() {
      let mine = found.doubles[row * 384..<(row + 1) * 384]
      let cosine = zip(mine, expected.elements!).reduce(0) { $0 + $1.0 * $1.1.double! }
      #expect(1 - cosine < 1e-5, "\(texts[row]): \(1 - cosine)")
    }
  }
}

private let minilm = ProcessInfo.processInfo.environment["APUS_MINILM"] ?? ""
