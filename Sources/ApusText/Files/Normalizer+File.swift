// Normalisers in `tokenizer.json`.

import ApusGraph

extension Normalizer {
  /// - Throws: `invalidFile` and `unsupported` naming the field.
  init(_ value: JSON, at path: String) throws {
    let fields = try FileFields(value, at: path)
    switch try fields.string("type") {
    case "BertNormalizer":
      try fields.allow("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
      self = .bert(
        BERTNormalizer(
          cleansText: try fields.bool("clean_text"),
          separatesIdeographs: try fields.bool("handle_chinese_chars"),
          stripsAccents: fields.optional("strip_accents") == nil
            ? nil : try fields.bool("strip_accents"),
          lowercases: try fields.bool("lowercase")))
    case "Strip":
      try fields.allow("strip_left", "strip_right")
      self = .strip(left: try fields.bool("strip_left"), right: try fields.bool("strip_right"))
    case "StripAccents":
      try fields.allow()
      self = .stripAccents
    case "Sequence":
      try fields.allow("normalizers")
      self = .sequence(
        try fields.elements("normalizers").enumerated().map {
          try Normalizer($1, at: "\(path).normalizers[\($0)]")
        })
    case "Lowercase":
      try fields.allow()
      self = .lowercase
    case "Nmt":
      try fields.allow()
      self = .nmt
    case "Precompiled":
      try fields.allow("precompiled_charsmap")
      self = .precompiled(
        try CharacterMap(
          base64: try fields.string("precompiled_charsmap"),
          at: fields.path("precompiled_charsmap")))
    case "Replace":
      try fields.allow("pattern", "content")
      self = .replace(
        try Pattern(try fields.value("pattern"), at: fields.path("pattern")),
        content: Array(try fields.string("content").utf8))
    case "Prepend":
      try fields.allow("prepend")
      self = .prepend(Array(try fields.string("prepend").utf8))
    case "ByteLevel":
      try fields.allow()
      self = .byteLevel
    case let name:
      guard let form = NormalizationForm(rawValue: name) else {
        throw ApusError(
          .unsupported, "the normaliser '\(name)' is not known", at: fields.path("type"),
          expected: """
            BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, Replace, \
            Sequence, Strip or StripAccents
            """)
      }
      try fields.allow()
      self = .form(form)
    }
  }

  var json: JSON {
    switch self {
    case .bert(let bert):
      .object([
        ("type", "BertNormalizer"), ("clean_text", .bool(bert.cleansText)),
        ("handle_chinese_chars", .bool(bert.separatesIdeographs)),
        ("strip_accents", bert.stripsAccents.map { .bool($0) } ?? .null),
        ("lowercase", .bool(bert.lowercases)),
      ])
    case .strip(let left, let right):
      .object([("type", "Strip"), ("strip_left", .bool(left)), ("strip_right", .bool(right))])
    case .stripAccents: .object([("type", "StripAccents")])
    case .form(let form): .object([("type", .string(form.rawValue))])
    case .sequence(let steps):
      .object([("type", "Sequence"), ("normalizers", .array(steps.map(\.json)))])
    case .lowercase: .object([("type", "Lowercase")])
    case .nmt: .object([("type", "Nmt")])
    case .precompiled(let map):
      .object([("type", "Precompiled"), ("precompiled_charsmap", .string(map.encoded))])
    case .replace(let pattern, let content):
      .object([
        ("type", "Replace"), ("pattern", pattern.json),
        ("content", .string(String(decoding: content, as: UTF8.self))),
      ])
    case .prepend(let content):
      .object([
        ("type", "Prepend"), ("prepend", .string(String(decoding: content, as: UTF8.self))),
      ])
    case .byteLevel: .object([("type", "ByteLevel")])
    }
  }
}

extension Pattern {
  /// - Throws: `invalidFile` and `unsupported` naming the field.
  init(_ value: JSON, at path: String) throws {
    let fields = try FileFields(value, at: path)
    try fields.allow("String", "Regex")
    if let text = try fields.optionalString("String") {
      self = .literal(Array(text.utf8))
    } else if let source = try fields.optionalString("Regex") {
      self = try .expression(source, at: fields.path("Regex"))
    } else {
      throw FileFields.wrong(value, path, "an object with 'String' or 'Regex'")
    }
  }
}
