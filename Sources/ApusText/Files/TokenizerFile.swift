// `tokenizer.json`: all parts of a tokenizer in one file.

import ApusData
import ApusGraph

/// What a file says.
struct TokenizerFile {
  var normalizer: Normalizer?
  var preTokenizer: PreTokenizer?
  var model: any TokenModel
  var postProcessor: PostProcessor?
  var decoder: Decoder?
  var added: [(id: Int, token: AddedToken)]
  var truncation: TokenTruncation?
  var padding: TokenPadding?

  /// - Throws: `invalidFile` and `unsupported` naming the field.
  init(_ value: JSON) throws {
    let fields = try FileFields(value, at: "")
    try fields.allow(
      "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
      "post_processor", "decoder", "model")
    let version = try fields.string("version", default: "1.0")
    guard version == "1.0" else {
      throw ApusError(
        .unsupported, "the version is '\(version)'", at: "version", expected: "1.0")
    }
    model = try tokenModel(try fields.value("model"), at: "model")
    normalizer = try fields.optional("normalizer").map { try Normalizer($0, at: "normalizer") }
    preTokenizer = try fields.optional("pre_tokenizer").map {
      try PreTokenizer($0, at: "pre_tokenizer")
    }
    postProcessor = try fields.optional("post_processor").map {
      try PostProcessor($0, at: "post_processor")
    }
    decoder = try fields.optional("decoder").map { try Decoder($0, at: "decoder") }
    added = try fields.elements("added_tokens", default: []).enumerated().map { index, value in
      let token = try FileFields(value, at: "added_tokens[\(index)]")
      try token.allow(
        "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
      return (
        try token.count("id"),
        AddedToken(
          try token.string("content"), isSpecial: try token.bool("special"),
          isSingleWord: try token.bool("single_word"), stripsLeft: try token.bool("lstrip"),
          stripsRight: try token.bool("rstrip"), isNormalized: try token.bool("normalized"))
      )
    }
    truncation = try fields.optional("truncation").map { try TokenTruncation($0) }
    padding = try fields.optional("padding").map { try TokenPadding($0) }
  }
}

extension AddedToken {
  func json(id: Int) -> JSON {
    .object([
      ("id", .integer(id)), ("content", .string(content)), ("single_word", .bool(isSingleWord)),
      ("lstrip", .bool(stripsLeft)), ("rstrip", .bool(stripsRight)),
      ("normalized", .bool(isNormalized)), ("special", .bool(isSpecial)),
    ])
  }
}

extension TokenTruncation {
  fileprivate init(_ value: JSON) throws {
    let fields = try FileFields(value, at: "truncation")
    try fields.allow("direction", "max_length", "strategy", "stride")
    self.init(
      maximumLength: try fields.count("max_length"),
      strategy: try fields.choice("strategy"), stride: try fields.count("stride"),
      side: try fields.choice("direction", default: .right))
  }

  var json: JSON {
    .object([
      ("direction", .string(side.rawValue)), ("max_length", .integer(maximumLength)),
      ("strategy", .string(strategy.rawValue)), ("stride", .integer(stride)),
    ])
  }
}

extension TokenPadding {
  /// Nobody fills up to more, so that no file makes a short text take all memory.
  static let mostTokens = 1 << 20

  fileprivate init(_ value: JSON) throws {
    let fields = try FileFields(value, at: "padding")
    try fields.allow(
      "strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token")
    let strategy = try fields.value("strategy")
    let length: Length
    if strategy.string == "BatchLongest" {
      length = .longest
    } else if let fixed = strategy["Fixed"]?.integer, (0...Self.mostTokens).contains(fixed) {
      length = .fixed(fixed)
    } else {
      throw FileFields.wrong(
        strategy, "padding.strategy", "BatchLongest, or Fixed with 0 to \(Self.mostTokens)")
    }
    let multiple =
      fields.optional("pad_to_multiple_of") == nil ? nil : try fields.count("pad_to_multiple_of")
    guard multiple ?? 0 <= Self.mostTokens else {
      throw FileFields.wrong(
        .integer(multiple ?? 0), "padding.pad_to_multiple_of", "at most \(Self.mostTokens)")
    }
    self.init(
      length: length, id: try fields.count("pad_id"), token: try fields.string("pad_token"),
      typeID: try fields.count("pad_type_id"),
      side: try fields.choice("direction", default: .right), multiple: multiple)
  }

  var json: JSON {
    let strategy: JSON =
      switch length {
      case .longest: "BatchLongest"
      case .fixed(let length): .object([("Fixed", .integer(length))])
      }
    return .object([
      ("strategy", strategy), ("direction", .string(side.rawValue)),
      ("pad_to_multiple_of", multiple.map { .integer($0) } ?? .null), ("pad_id", .integer(id)),
      ("pad_type_id", .integer(typeID)), ("pad_token", .string(token)),
    ])
  }
}
