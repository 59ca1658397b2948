// Folders of the Python package sentence-transformers, and plain ones of Hugging Face.
//
//     modules.json                  [{"path": "", "type": "….Transformer"}, {"path": "1_Pooling", "type": "….Pooling"}, …]
//     sentence_bert_config.json     {"max_seq_length": 256, "do_lower_case": false}
//     1_Pooling/config.json         {"pooling_mode_mean_tokens": true, …}
//     config.json, model.safetensors, tokenizer.json

import Apus
import ApusText

/// What a folder says of an encoder of sentences.
struct SentenceFolder {
  var model: SentenceModel
  /// Neither cuts nor fills up.
  var tokenizer: Tokenizer
  /// The most tokens of a text, special ones included.
  var maximumLength: Int
  /// Where longer texts are cut.
  var side: TokenTruncation.Side
  /// What is put before each text, by name, and what is put there unless another is asked for.
  var prompts: [String: String]
  var defaultPrompt: String?
  /// Arrays of the file that no model needs.
  var ignoredArrays: [String]

  private static let modulesName = "modules.json"

  init(_ folder: String) throws {
    let path = folder.hasSuffix("/") && folder.count > 1 ? String(folder.dropLast()) : folder
    let modules = try Self.modules(in: path)
    let encoderPath = modules.map { Self.join(path, $0[0].path) } ?? path
    let encoder = try BERT(contentsOf: encoderPath)
    ignoredArrays = try PretrainedFolder(encoderPath).names
      .filter { BERT.path(ofStored: $0) == nil }
    if let modules {
      let pooling = try Self.pooling(Self.join(path, modules[1].path), encoder.configuration.width)
      var stages: [SentenceStage] = []
      var width = encoder.configuration.width * pooling.count
      for module in modules.dropFirst(2) {
        guard module.type == "Dense" else {
          stages.append(.normalize)
          continue
        }
        let dense = try Self.dense(Self.join(path, module.path), inputs: width)
        width = dense.linear.weight.shape[0]
        stages.append(.dense(dense))
      }
      model = SentenceModel(encoder, pooling, stages)
    } else {
      model = SentenceModel(encoder, [.mean], [])
    }
    tokenizer = try Tokenizer(file: "\(encoderPath)/tokenizer.json")
    let said = tokenizer.truncation
    // Texts are filled up to the longest of their batch, whatever the file says: what is filled in does not count.
    try tokenizer.enablePadding(nil)
    try tokenizer.enableTruncation(nil)
    guard tokenizer.idLimit <= encoder.configuration.vocabulary else {
      throw ApusError(
        .invalidFile, "the tokenizer has ids up to \(tokenizer.idLimit - 1)",
        at: "\(encoderPath)/tokenizer.json",
        expected: "ids below the model's vocabulary of \(encoder.configuration.vocabulary)")
    }
    maximumLength = try Self.maximumLength(encoderPath, encoder, tokenizer, said)
    side = said?.side ?? .right
    (prompts, defaultPrompt) = try Self.prompts(in: path)
  }

  private static func join(_ folder: String, _ part: String) -> String {
    part.isEmpty ? folder : "\(folder)/\(part)"
  }

  /// A file's JSON object; nil where there is no such file.
  private static func object(_ path: String) throws -> JSON? {
    // (JSON has a nil of its own.)
    guard TextFile.exists(path) else { return Optional.none }
    return try json(path)
  }

  private static func json(_ path: String) throws -> JSON {
    do {
      return try JSON(parsing: TextFile.bytes(path, limit: 1 << 22))
    } catch var error as ApusError where error.kind == .parse {
      error.kind = .invalidFile
      error.location = [path, error.location].compactMap { $0 }.joined(separator: ", ")
      throw error
    }
  }

  // MARK: Modules

  private struct NamedModule {
    /// Of the folder, within the model's; empty for that itself.
    var path: String
    var type: String
  }

  /// The modules in order; nil for a folder that has a model alone.
  private static func modules(in folder: String) throws -> [NamedModule]? {
    let path = "\(folder)/\(modulesName)"
    guard let json = try object(path) else { return nil }
    guard let elements = json.elements else {
      throw ApusError(.invalidFile, "the file is no list", at: path, expected: "a list of modules")
    }
    let modules = try elements.enumerated().map { index, element in
      guard let name = element["type"]?.string, let part = element["path"]?.string else {
        throw ApusError(
          .invalidFile, "module \(index) has no 'type' or no 'path'", at: path,
          expected: "two strings")
      }
      let parts = part.split(separator: "/", omittingEmptySubsequences: false)
      guard part.isEmpty || parts.allSatisfy({ !["", ".", ".."].contains($0) }) else {
        throw ApusError(
          .invalidFile, "module \(index) is at '\(part)'", at: path, expected: "a folder within")
      }
      let isKnown = name.hasPrefix("sentence_transformers.")
      let type = isKnown ? String(name.split(separator: ".").last ?? "") : name
      let expected =
        index == 0 ? ["Transformer"] : index == 1 ? ["Pooling"] : ["Dense", "Normalize"]
      guard expected.contains(type) else {
        throw ApusError(
          .unsupported, "module \(index), at '\(part)', is a \(name)", at: path,
          expected: "sentence_transformers.models.\(expected.joined(separator: " or "))")
      }
      return NamedModule(path: part, type: type)
    }
    guard modules.count >= 2 else {
      throw ApusError(
        .unsupported, "there are \(modules.count) modules", at: path,
        expected: "a Transformer and a Pooling at least")
    }
    return modules
  }

  // MARK: Pooling

  /// Keys of the older form by the modes that we have, in the order in which several stand side by side.
  private static let poolingKeys: [(key: String, mode: SentencePooling)] = [
    ("pooling_mode_cls_token", .cls), ("pooling_mode_max_tokens", .max),
    ("pooling_mode_mean_tokens", .mean), ("pooling_mode_mean_sqrt_len_tokens", .meanSqrtLength),
  ]

  private static func pooling(_ folder: String, _ width: Int) throws -> [SentencePooling] {
    let path = "\(folder)/config.json"
    let json = try json(path)
    guard let members = json.members else {
      throw ApusError(.invalidFile, "the file is no object", at: path, expected: "an object")
    }
    let modes = SentencePooling.allCases.map(\.rawValue).joined(separator: ", ")
    for key in ["word_embedding_dimension", "embedding_dimension"] {
      guard let said = json[key]?.integer, said != width else { continue }
      throw ApusError(
        .shapeMismatch, "'\(key)' is \(said)", at: path,
        expected: "\(width), the width of the model's vectors")
    }
    if json["include_prompt"]?.bool == false {
      throw ApusError(
        .unsupported, "'include_prompt' is false", at: path,
        expected: "true: all tokens are pooled")
    }
    if let named = json["pooling_mode"], named != .null {
      guard let mode = named.string.flatMap(SentencePooling.init) else {
        throw ApusError(
          .unsupported, "'pooling_mode' is \(named.text)", at: path, expected: "one of \(modes)")
      }
      return [mode]
    }
    var chosen: [SentencePooling] = []
    for (key, value) in members where key.hasPrefix("pooling_mode_") && value.bool == true {
      guard poolingKeys.contains(where: { $0.key == key }) else {
        throw ApusError(
          .unsupported, "'\(key)' is true", at: path,
          expected: poolingKeys.map(\.key).joined(separator: ", "))
      }
    }
    for (key, mode) in poolingKeys where json[key]?.bool == true { chosen.append(mode) }
    guard !chosen.isEmpty else {
      throw ApusError(
        .invalidFile, "no mode of pooling is true", at: path,
        expected: "one of " + poolingKeys.map(\.key).joined(separator: ", "))
    }
    return chosen
  }

  // MARK: Dense

  private static func dense(_ folder: String, inputs: Int) throws -> SentenceDense {
    let path = "\(folder)/config.json"
    let json = try json(path)
    guard let given = json["in_features"]?.integer, let outputs = json["out_features"]?.integer,
      given == inputs, (1...(1 << 24)).contains(outputs)
    else {
      throw ApusError(
        .shapeMismatch,
        "'in_features' is \(json["in_features"]?.text ?? "not there") and 'out_features' "
          + "\(json["out_features"]?.text ?? "not there")", at: path,
        expected: "\(inputs) features in, as many as the module before gives, and some out")
    }
    let name = json["activation_function"]?.string ?? SentenceDense.Activation.tanh.rawValue
    guard let activation = SentenceDense.Activation(rawValue: name) else {
      throw ApusError(
        .unsupported, "'activation_function' is \"\(name)\"", at: path,
        expected: SentenceDense.Activation.allCases.map(\.rawValue).joined(separator: ", "))
    }
    let hasBias = json["bias"]?.bool ?? true
    let weights = "\(folder)/model.safetensors"
    guard TextFile.exists(weights) else {
      throw ApusError(
        TextFile.exists("\(folder)/pytorch_model.bin") ? .unsupported : .io,
        "there are no weights as safetensors", at: folder, expected: "model.safetensors")
    }
    let dense = SentenceDense(
      linear: Linear(inputs, outputs, bias: hasBias), activation: activation)
    try dense.load(weights)
    return dense
  }

  // MARK: Lengths and prompts

  /// The first that is said of: `max_seq_length` beside the model, the truncation of the tokenizer's file, the model's
  /// positions; never more than the last.
  private static func maximumLength(
    _ folder: String, _ encoder: BERT, _ tokenizer: Tokenizer, _ truncation: TokenTruncation?
  ) throws -> Int {
    let positions = encoder.configuration.length
    let path = "\(folder)/sentence_bert_config.json"
    let json = try object(path) ?? .null
    if json["do_lower_case"]?.bool == true {
      throw ApusError(
        .unsupported, "'do_lower_case' is true", at: path,
        expected: "false, and a tokenizer.json whose normaliser does it")
    }
    var length = truncation?.maximumLength ?? positions
    if let said = json["max_seq_length"], said != .null {
      guard let count = said.integer, count >= 1 else {
        throw ApusError(
          .invalidFile, "'max_seq_length' is \(said.text)", at: path,
          expected: "a number of tokens, 1 or more")
      }
      length = count
    }
    length = min(length, positions)
    // Below that tokenizers do not cut at all.
    let special = try tokenizer.ids(of: "").count
    guard length > special else {
      throw ApusError(
        .invalidFile, "texts may have \(length) tokens", at: folder,
        expected: "more than the \(special) special ones that are put around each")
    }
    return length
  }

  private static func prompts(in folder: String) throws -> ([String: String], String?) {
    let path = "\(folder)/config_sentence_transformers.json"
    guard let json = try object(path) else { return ([:], nil) }
    var prompts: [String: String] = [:]
    for (name, value) in json["prompts"]?.members ?? [] {
      guard let text = value.string else {
        throw ApusError(
          .invalidFile, "the prompt '\(name)' is \(value.text)", at: path, expected: "a text")
      }
      prompts[name] = text
    }
    let name = json["default_prompt_name"]?.string
    if let name, prompts[name] == nil {
      throw ApusError(
        .invalidFile, "'default_prompt_name' is \"\(name)\"", at: path,
        expected: prompts.isEmpty
          ? "null, since there are no prompts"
          : "one of \(prompts.keys.sorted().joined(separator: ", "))")
    }
    return (prompts, name)
  }
}
