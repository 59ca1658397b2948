// Folders of Hugging Face: what models make of them is what `transformers` makes (Tests/reference/
// transformer_vectors.py), they are written as they were read, and bad ones are told.

import Apus
import Foundation
import TestSupport
import Testing

/// What the script writes of a model.
struct PretrainedCase: Decodable {
  var logits: [Double]?
  var hidden: [Double]?
  var pooled: [Double]?
  var generated: [Int]?
  var curve: [Double]?

  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Reference").path
  static func path(_ name: String) -> String { "\(folder)/\(name)" }

  static func named(_ name: String) throws -> PretrainedCase {
    let data = try Data(contentsOf: URL(fileURLWithPath: path("transformers.json")))
    let all = try JSONDecoder().decode([String: PretrainedCase].self, from: data)
    return try #require(all[name])
  }

  /// Numbers below `limit`, as the script draws them.
  static func tokens(_ seed: UInt64, below limit: Int, _ shape: Shape) -> NDArray {
    var generator = SplitMix(seed: seed)
    let values = (0..<shape.count).map { _ in
      Int32(Double(generator.next() >> 40) / 0x1p24 * Double(limit))
    }
    return NDArray(values, shape: shape)
  }
}

/// A folder that goes with the test.
final class TemporaryFolder {
  let path: String
  init() throws {
    path = NSTemporaryDirectory() + "apus-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// With the files of a folder.
  convenience init(copying folder: String) throws {
    try self.init()
    for file in try FileManager.default.contentsOfDirectory(atPath: folder) {
      try FileManager.default.copyItem(atPath: "\(folder)/\(file)", toPath: "\(path)/\(file)")
    }
  }

  func replace(_ old: String, _ new: String, in file: String = "config.json") throws {
    let text = try String(contentsOfFile: "\(path)/\(file)", encoding: .utf8)
    #expect(text.contains(old))
    try text.replacingOccurrences(of: old, with: new).write(
      toFile: "\(path)/\(file)", atomically: true, encoding: .utf8)
  }
}

@Suite struct PretrainedModelTests {
  private func expectClose(_ found: NDArray, _ expected: [Double]?, _ what: String) throws {
    let expected = try #require(expected)
    #expect(found.count == expected.count, "\(what)")
    for (a, b) in zip(found.doubles, expected) where !(abs(a - b) <= 2e-5 * max(1, abs(b))) {
      Issue.record("\(what): \(a), not \(b)")
      return
    }
  }

  private func logits<M: CausalLanguageModel>(_ model: M) throws -> NDArray {
    try Predictor(model) { $0($1) }(
      PretrainedCase.tokens(7, below: model.vocabularySize, [2, 20]))
  }

  @Test func gpt2_givesTheLogitsOfTransformers() throws {
    let model = try GPT2(contentsOf: PretrainedCase.path("gpt2"))
    #expect(model.configuration.tiesScores && model.configuration.hidden == 64)
    try expectClose(logits(model), PretrainedCase.named("gpt2").logits, "logits")
  }

  @Test func llama_givesTheLogitsOfTransformers() throws {
    let model = try Llama(contentsOf: PretrainedCase.path("llama"))
    #expect(model.configuration.rotaryBase == 500 && model.configuration.keyHeads == 2)
    try expectClose(logits(model), PretrainedCase.named("llama").logits, "logits")
  }

  @Test func bert_givesVectorsPoolsAndScoresOfTransformers() throws {
    let model = try BERT(contentsOf: PretrainedCase.path("bert"))
    let reference = try PretrainedCase.named("bert")
    let run = try Predictor(model) { model, inputs in
      let x = model(inputs[0], types: inputs[1], seeing: .lengths(inputs[2]))
      return [x, model.pooled(x), model.tokenLogits(x)]
    }
    let found = try run.run([
      PretrainedCase.tokens(8, below: 48, [2, 10]), PretrainedCase.tokens(9, below: 2, [2, 10]),
      NDArray([10, 6] as [Int32], shape: [2]),
    ])
    try expectClose(found[0], reference.hidden, "vectors")
    try expectClose(found[1], reference.pooled, "pooled")
    try expectClose(found[2], reference.logits, "scores")
  }

  @Test func sentenceEmbeddings_areMeansOverTheTokensThatAreThere() throws {
    let model = try BERT(contentsOf: PretrainedCase.path("bert"))
    let run = try Predictor(model) { model, inputs in
      [
        model(inputs[0], seeing: .lengths(inputs[1])),
        model.sentenceEmbeddings(inputs[0], lengths: inputs[1]),
      ]
    }
    let ids = PretrainedCase.tokens(8, below: 48, [3, 7])
    let found = try run.run([ids, NDArray([7, 3, 0] as [Int32], shape: [3])])
    for (row, length) in [7, 3].enumerated() {
      var mean = (0..<16).map { unit in
        (0..<length).reduce(0) { $0 + found[0].doubles[(row * 7 + $1) * 16 + unit] }
      }
      let norm = mean.reduce(0) { $0 + $1 * $1 }.squareRoot()
      mean = mean.map { $0 / norm }
      for (a, b) in zip(found[1].doubles[row * 16..<row * 16 + 16], mean) {
        #expect(abs(a - b) < 1e-6)
      }
    }
    #expect(found[1].doubles[32...].allSatisfy { $0 == 0 })
    // Padding does not count, whatever stands there.
    let short = try run.run([ids.slice(axis: 1, 0..<3), NDArray([3, 3, 0] as [Int32], shape: [3])])
    for (a, b) in zip(short[1].doubles[16..<32], found[1].doubles[16..<32]) {
      #expect(abs(a - b) < 1e-6)
    }
  }

  @Test(arguments: ["gpt2", "llama", "bert"])
  func whatIsWritten_isReadAgain_inOneFileAndInSeveral(name: String) throws {
    func check<M: PretrainedModel>(_: M.Type) throws {
      let model = try M(contentsOf: PretrainedCase.path(name))
      let folder = try TemporaryFolder(), shards = try TemporaryFolder()
      try model.save(folder: folder.path + "/new")
      try model.save(folder: shards.path, shardBytes: 4096)
      let files = try FileManager.default.contentsOfDirectory(atPath: shards.path)
      #expect(files.count > 4 && files.contains("model.safetensors.index.json"))
      for path in [folder.path + "/new", shards.path] {
        let again = try M(contentsOf: path)
        #expect(again.configuration == model.configuration)
        for (a, b) in zip(model.parameters, again.parameters) {
          #expect(try a.path == b.path && a.parameter.value() == b.parameter.value())
        }
      }
      // No array stands twice, and no part is left out.
      let kept = try SafetensorsFile("\(folder.path)/new/model.safetensors").names
      #expect(Set(kept) == Set(model.parameters.map(\.path)))
      let other = #expect(throws: ApusError.self) { try model.save(folder: shards.path) }
      #expect(other?.location?.hasSuffix("model.safetensors.index.json") == true)
    }
    switch name {
    case "gpt2": try check(GPT2.self)
    case "llama": try check(Llama.self)
    default: try check(BERT.self)
    }
  }

  @Test func oldNames_areRead() throws {
    let model = try BERT(contentsOf: PretrainedCase.path("bert"))
    let folder = try TemporaryFolder(copying: PretrainedCase.path("bert"))
    var old = NamedArrays()
    for (path, parameter) in model.parameters where path.hasPrefix("bert.") {
      var name = String(path.dropFirst(5))
      if name.contains("LayerNorm") {
        name = name.replacingOccurrences(of: ".weight", with: ".gamma")
          .replacingOccurrences(of: ".bias", with: ".beta")
      }
      old[name] = try parameter.value()
    }
    old["embeddings.position_ids"] = NDArray([0, 1] as [Int64], shape: [1, 2])
    try SafetensorsFile.write(old, to: "\(folder.path)/model.safetensors")
    let again = try BERT(contentsOf: folder.path)
    #expect(again.configuration.hasPooler && !again.configuration.hasTokenHead)
    #expect(
      try again.parameters.map { try $0.parameter.value() }
        == model.parameters.filter { $0.path.hasPrefix("bert.") }.map { try $0.parameter.value() })

    // GPT-2's first files lack the prefix, and hold masks.
    let gpt = try GPT2(contentsOf: PretrainedCase.path("gpt2"))
    let first = try TemporaryFolder(copying: PretrainedCase.path("gpt2"))
    var arrays = NamedArrays()
    for (path, parameter) in gpt.parameters {
      arrays[String(path.dropFirst("transformer.".count))] = try parameter.value()
    }
    arrays["h.0.attn.bias"] = NDArray(zeros: .f32(1, 1, 40, 40))
    try SafetensorsFile.write(arrays, to: "\(first.path)/model.safetensors")
    #expect(try logits(GPT2(contentsOf: first.path)) == logits(gpt))
  }

  @Test func badFolders_areToldWithFileAndKey() throws {
    func error<M: PretrainedModel>(
      _: M.Type, _ change: (TemporaryFolder) throws -> Void
    ) throws -> ApusError? {
      let name = M.self == GPT2.self ? "gpt2" : M.self == BERT.self ? "bert" : "llama"
      let folder = try TemporaryFolder(copying: PretrainedCase.path(name))
      try change(folder)
      return #expect(throws: ApusError.self) { _ = try M(contentsOf: folder.path) }
    }
    func expect(_ error: ApusError?, _ kind: ApusError.Kind, _ words: String...) {
      #expect(error?.kind == kind, "\(error?.description ?? "")")
      for word in words {
        #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
      }
    }
    expect(
      try error(GPT2.self) { try $0.replace("\"gpt2\"", "\"mamba\"") }, .unsupported,
      "'model_type' is \"mamba\"", "config.json")
    expect(
      try error(GPT2.self) { try $0.replace("\"n_embd\": 16", "\"n_embd\": 32") }, .shapeMismatch,
      "wte.weight", "[48,16]", "'n_embd' is 32", "model.safetensors")
    expect(
      try error(GPT2.self) { try $0.replace("\"n_layer\": 2", "\"n_layer\": 3") }, .missing,
      "transformer.h.2.ln_1.weight", "n_layer is 3")
    expect(
      try error(Llama.self) {
        try $0.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1")
      },
      .missing, "model.layers.1.", "num_hidden_layers is 1")
    expect(
      try error(GPT2.self) { try $0.replace("\"n_head\": 2", "\"n_head\": 3") }, .invalidArgument,
      "3 heads", "16", "config.json")
    expect(
      try error(GPT2.self) { try $0.replace("\"n_head\": 2", "\"n_head\": \"two\"") },
      .invalidArgument, "'n_head' is \"two\"", "a whole number")
    expect(
      try error(GPT2.self) { try $0.replace("\"n_embd\": 16", "\"n_embd\": 1e99") },
      .invalidArgument, "'n_embd'")
    expect(
      try error(GPT2.self) { try $0.replace("gelu_new", "cosine") }, .unsupported,
      "'activation_function'", "gelu_new")
    expect(
      try error(Llama.self) { try $0.replace("\"default\"", "\"yarn\"") }, .unsupported,
      "rope_parameters.rope_type", "yarn")
    expect(
      try error(Llama.self) {
        try $0.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true")
      }, .invalidFile, "lm_head.weight", "tie_word_embeddings")
    expect(
      try error(BERT.self) { try $0.replace("{", "{,") }, .parse, "config.json", "byte")
    expect(
      try error(BERT.self) {
        try Data([0x7b, 0xff, 0x7d]).write(to: URL(fileURLWithPath: "\($0.path)/config.json"))
      }, .invalidFile, "byte 1")
    expect(
      try error(BERT.self) {
        try FileManager.default.removeItem(atPath: "\($0.path)/config.json")
      }, .io, "config.json")
    expect(
      try error(BERT.self) {
        try FileManager.default.removeItem(atPath: "\($0.path)/model.safetensors")
      }, .io, "model.safetensors.index.json")
    expect(
      try error(BERT.self) { folder in
        let url = URL(fileURLWithPath: "\(folder.path)/model.safetensors")
        try Data(contentsOf: url).dropLast(100).write(to: url)
      }, .invalidFile, "byte", "model.safetensors")
    #expect(throws: ApusError.self) { _ = try GPT2(contentsOf: "/no/such/folder") }
  }

  @Test func badIndexes_areTold() throws {
    let model = try GPT2(contentsOf: PretrainedCase.path("gpt2"))
    func error(_ change: (TemporaryFolder) throws -> Void) throws -> String? {
      let folder = try TemporaryFolder()
      try model.save(folder: folder.path, shardBytes: 16 << 10)
      try change(folder)
      return #expect(throws: ApusError.self) { _ = try GPT2(contentsOf: folder.path) }?.description
    }
    let index = "model.safetensors.index.json", first = "model-00001-of-00003.safetensors"
    #expect(
      try error { try $0.replace("weight_map", "map", in: index) }?.contains("weight_map") == true)
    #expect(
      try error { try $0.replace(first, "../secret", in: index) }?.contains("../secret") == true)
    #expect(
      try error { try $0.replace(first, "gone.safetensors", in: index) }?
        .contains("gone.safetensors") == true)
    #expect(
      try error { try $0.replace("\"transformer.ln_f.bias\"", "\"ln_x\"", in: index) }?
        .contains("ln_x") == true)
    #expect(
      try error { folder in
        let url = URL(fileURLWithPath: "\(folder.path)/\(first)")
        try Data(contentsOf: url).dropLast(1).write(to: url)
      }?.contains(first) == true)
  }

  /// One byte of a file is another: the model is read, or a typed error tells why not.
  @Test(arguments: ["config.json", "model.safetensors", "model.safetensors.index.json"])
  func damagedFiles_neverTrap(file: String) throws {
    let model = try Llama(contentsOf: PretrainedCase.path("llama"))
    let folder = try TemporaryFolder()
    try model.save(folder: folder.path, shardBytes: file.hasSuffix("index.json") ? 8192 : nil)
    let url = URL(fileURLWithPath: "\(folder.path)/\(file)")
    let bytes = try Data(contentsOf: url)
    var random = SplitMix("damagedFiles_neverTrap \(file)")
    var refused = 0
    for _ in 0..<150 {
      var damaged = bytes
      let place = Int(random.next() % UInt64(min(bytes.count, 2000)))
      // Digits and marks do more harm than others.
      let harm = Array("0123456789{}[]\",:-e ".utf8)
      damaged[place] = harm[Int(random.next() % UInt64(harm.count))]
      if random.next() % 8 == 0 { damaged = damaged.prefix(place) }
      try damaged.write(to: url)
      do {
        _ = try Llama(contentsOf: folder.path)
      } catch let error as ApusError {
        #expect(!error.what.isEmpty)
        refused += 1
      }
    }
    #expect(refused > 30)
  }

  @Test func configurationsThatMakeNoSense_areThrownByTheModel() {
    func mistake(_ model: some Module) -> ApusError? {
      #expect(throws: ApusError.self) { try model.initialize() }
    }
    #expect(mistake(GPT2(.init(width: 10, heads: 3)))?.what.contains("3 heads") == true)
    #expect(mistake(GPT2(.init(vocabulary: -1)))?.what.contains("-1") == true)
    #expect(mistake(GPT2(.init(width: .max)))?.kind == .invalidArgument)
    #expect(mistake(GPT2(.init(layers: .max)))?.kind == .invalidArgument)
    #expect(mistake(BERT(.init(dropout: 2)))?.what.contains("2.0") == true)
    #expect(mistake(Llama(.init(width: 6, heads: 2)))?.what.contains("width 3") == true)
    #expect(mistake(Llama(.init(heads: 0)))?.kind == .invalidArgument)
  }

  @Test func tokensThatAreNoTokens_areTold() throws {
    let model = try GPT2(contentsOf: PretrainedCase.path("gpt2"))
    let run = try Predictor(model) { $0($1) }
    func error(_ ids: NDArray) -> String? {
      #expect(throws: ApusError.self) { _ = try run(ids) }?.description
    }
    #expect(error(NDArray(zeros: .i32(1, 41)))?.contains("at most 40") == true)
    #expect(error(NDArray(zeros: .f32(1, 4)))?.contains("token numbers") == true)
    #expect(error(NDArray(zeros: .i32(4)))?.contains("i32[4]") == true)
    #expect(error(NDArray([1, 48] as [Int32], shape: [1, 2]))?.contains("48") == true)
  }

  @Test func maskedTokens_areThoseThatCount() throws {
    let bert = try BERT(contentsOf: PretrainedCase.path("bert"))
    let ids = PretrainedCase.tokens(3, below: 48, [40, 50])
    let lengths = NDArray([Int32](repeating: 30, count: 40), shape: [40])
    let run = try Predictor(bert, mode: .training, seed: 4) { _, inputs in
      let (tokens, labels) = maskedTokens(
        inputs[0], mask: 3, vocabulary: 48, share: 0.3, lengths: inputs[1])
      return [tokens, labels]
    }
    let found = try run.run([ids, lengths]).map(\.integers)
    var chosen = 0, masked = 0, kept = 0
    for (place, id) in ids.integers.enumerated() {
      let (token, label) = (found[0][place], found[1][place])
      if label == -100 {
        #expect(token == id)
        continue
      }
      #expect(label == id && place % 50 < 30 && (0..<48).contains(token))
      chosen += 1
      masked += token == 3 && id != 3 ? 1 : 0
      kept += token == id ? 1 : 0
    }
    #expect((300...420).contains(chosen))
    #expect((0.72...0.86).contains(Double(masked) / Double(chosen)))
    #expect((0.05...0.2).contains(Double(kept) / Double(chosen)))
    #expect(try run.run([ids, lengths])[1].integers != found[1])
  }
}
