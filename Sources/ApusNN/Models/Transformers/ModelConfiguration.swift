// What a `config.json` says of a model: reading it key by key, and writing it.

import ApusGraph

/// The sizes and settings of a model, as a `config.json` of Hugging Face has them.
public protocol ModelConfiguration: Sendable, Hashable {
  /// Reads the text of a `config.json`. Keys that the model does not know are left out.
  ///
  /// - `path`: of the file, for errors.
  /// - Throws: `parse` with the byte offset where it is no JSON, `missing`, `invalidArgument` or `unsupported` naming
  ///   the key.
  init(json text: String, at path: String?) throws
  /// The text of a `config.json` that says the same.
  var json: String { get }
  /// - Throws: `invalidArgument` for numbers that do not go together.
  func validate() throws
}

/// Reads the members of a JSON object, with the name of the key in each error.
struct ConfigurationReader {
  private let members: JSON
  private let path: String?

  /// - `type`: what `model_type` must be.
  init(_ text: String, at path: String?, type: String) throws {
    self.path = path
    do {
      members = try JSON(parsing: text)
    } catch var error as ApusError {
      // The parser counts bytes, which says where in the file.
      error.location = [path, error.location].compactMap { $0 }.joined(separator: ", ")
      throw error
    }
    guard members.members != nil else {
      throw ApusError(.parse, "the configuration is not a JSON object", at: path, expected: "'{'")
    }
    guard let found = members["model_type"]?.string else {
      throw error(.missing, "there is no 'model_type'", "\"model_type\": \"\(type)\"")
    }
    guard found == type else {
      throw error(.unsupported, "'model_type' is \"\(found)\"", "\"\(type)\"")
    }
  }

  func error(_ kind: ApusError.Kind, _ what: String, _ expected: String) -> ApusError {
    ApusError(kind, what, at: path, expected: expected)
  }

  /// The member of one of these names; null counts as none.
  private func member(_ keys: [String]) -> (key: String, value: JSON)? {
    for key in keys {
      if let value = members[key], value != .null { return (key, value) }
    }
    return nil
  }

  private func value<T>(
    _ keys: [String], _ initial: T?, _ expected: String, _ take: (JSON) -> T?
  ) throws -> T {
    guard let (key, json) = member(keys) else {
      if let initial { return initial }
      throw error(.missing, "there is no '\(keys[0])'", expected)
    }
    guard let found = take(json) else {
      throw error(.invalidArgument, "'\(key)' is \(json.text)", expected)
    }
    return found
  }

  /// A whole number from 1 (or `least`) to 2^24.
  func count(_ keys: String..., default initial: Int? = nil, least: Int = 1) throws -> Int {
    let range = least...(1 << 24)
    return try value(keys, initial, "a whole number from \(least) to \(range.upperBound)") {
      $0.integer.flatMap { range.contains($0) ? $0 : nil }
    }
  }

  /// A number above 0.
  func positive(_ keys: String..., default initial: Double?) throws -> Double {
    try value(keys, initial, "a number above 0") {
      $0.double.flatMap { $0 > 0 && $0.isFinite ? $0 : nil }
    }
  }

  /// A probability below 1.
  func probability(_ keys: String..., default initial: Double) throws -> Double {
    try value(keys, initial, "0 up to 1") { $0.double.flatMap { (0..<1).contains($0) ? $0 : nil } }
  }

  func flag(_ keys: String..., default initial: Bool) throws -> Bool {
    try value(keys, initial, "true or false") { $0.bool }
  }

  func word(_ keys: String..., default initial: String) throws -> String {
    try value(keys, initial, "a text") { $0.string }
  }

  /// A whole number, or none; of a list the first.
  func token(_ key: String) throws -> Int? {
    guard let (_, json) = member([key]) else { return nil }
    guard let found = json.integer ?? json.elements?.first?.integer else {
      throw error(.invalidArgument, "'\(key)' is \(json.text)", "a token's number")
    }
    return found
  }

  /// The first of `architectures`.
  var architecture: String? { members["architectures"]?.elements?.first?.string }

  /// The value within an object, such as `rope_parameters.rope_theta`.
  func nested(_ outer: String, _ inner: String) -> JSON? { member([outer])?.value[inner] }

  /// Refuses settings that the model does not have: keys with a value that is not one of `allowed`.
  func require(_ key: String, _ allowed: JSON...) throws {
    guard let (_, found) = member([key]), !allowed.contains(found) else { return }
    throw error(
      .unsupported, "'\(key)' is \(found.text)",
      allowed.isEmpty ? "none" : allowed.map(\.text).joined(separator: " or "))
  }

  /// The activation of that name.
  func activation(
    _ key: String, default initial: String
  ) throws -> (name: String, function: FeedForwardActivation) {
    let name = try word(key, default: initial)
    guard let function = activationNames[name] else {
      throw error(
        .unsupported, "'\(key)' is \"\(name)\"",
        "one of " + activationNames.keys.sorted().joined(separator: ", "))
    }
    return (name, function)
  }
}

/// Hugging Face's names of activations.
let activationNames: [String: FeedForwardActivation] = [
  "gelu": .gelu, "gelu_new": .geluTanh, "gelu_pytorch_tanh": .geluTanh, "gelu_fast": .geluTanh,
  "relu": .relu, "silu": .silu, "swish": .silu,
]

extension FeedForwardActivation {
  /// The name that is written.
  var configurationName: String {
    switch self {
    case .gelu: "gelu"
    case .geluTanh: "gelu_new"
    case .relu: "relu"
    case .silu, .swiGLU: "silu"
    }
  }
}

extension ModelConfiguration {
  /// Checks a width and its heads, and that each number is from 1 to 2^24.
  func validate(
    _ name: String, width: Int, heads: Int, keyHeads: Int, sizes: KeyValuePairs<String, Int>,
    layers: Int
  ) throws {
    let most = 1 << 24
    for (key, size) in sizes where !(1...most).contains(size) {
      throw ApusError(
        .invalidArgument, "\(name): \(key) is \(size)", expected: "1 to \(most)")
    }
    guard (0...65_536).contains(layers) else {
      throw ApusError(.invalidArgument, "\(name): \(layers) layers", expected: "0 to 65536")
    }
    guard heads >= 1, width % heads == 0 else {
      throw ApusError(
        .invalidArgument, "\(name): \(heads) heads of a width of \(width)",
        expected: "a number of heads that divides the width")
    }
    guard keyHeads >= 1, heads % keyHeads == 0 else {
      throw ApusError(
        .invalidArgument, "\(name): \(keyHeads) heads of keys for \(heads) heads",
        expected: "a number that divides them")
    }
  }
}

/// A model that is kept in folders of Hugging Face: `config.json` beside `model.safetensors`.
///
///     let gpt = try GPT2(contentsOf: "gpt2")
///     try gpt.save(folder: "tuned")
public protocol PretrainedModel: Module {
  associatedtype Configuration: ModelConfiguration
  /// What it was made by.
  var configuration: Configuration { get }
  /// A model without values. Numbers that do not go together are thrown by what initialises or records it.
  init(_ configuration: Configuration)
  /// The path that an array of that name has in the model; nil for what such files hold and no model needs, such as
  /// tables of masks.
  static func path(ofStored name: String) -> String?
  /// The configuration of the model whose arrays a file has under these paths: parts that the file lacks are left
  /// out.
  static func adapted(_ configuration: Configuration, to paths: Set<String>) -> Configuration
}

extension PretrainedModel {
  public static func adapted(
    _ configuration: Configuration, to paths: Set<String>
  ) -> Configuration { configuration }
}

/// The path of a stored name: with the prefix that files of the bare model lack.
///
/// - `heads`: beginnings of what stands beside the bare model.
func prefixed(_ name: String, _ prefix: String, besides heads: [String]) -> String {
  ([prefix] + heads).contains(where: name.hasPrefix) ? name : prefix + name
}

/// A weight that turns vectors into scores of tokens, often a table of vectors that stands elsewhere too.
struct TokenScores: Layer, Sendable {
  let scope = Scope()
  let weight: Parameter

  func forward(_ x: Tensor) -> Tensor { x.matmul(weight.tensor, transposeOther: true) }
}

/// A module that only gives its parts names.
struct NamedParts: Module {
  let parts: [(name: String, value: Any)]

  init(_ parts: KeyValuePairs<String, Any>) {
    self.parts = parts.map { ($0.key, $0.value) }
  }
}
