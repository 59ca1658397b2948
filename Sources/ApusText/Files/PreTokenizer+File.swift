// Pre-tokenizers in `tokenizer.json`.

import ApusGraph

extension PreTokenizer {
  /// - Throws: `invalidFile` and `unsupported` naming the field.
  init(_ value: JSON, at path: String) throws {
    let fields = try FileFields(value, at: path)
    switch try fields.string("type") {
    case "BertPreTokenizer":
      try fields.allow()
      self = .bert
    case "ByteLevel":
      try fields.allow("add_prefix_space", "trim_offsets", "use_regex")
      self = .byteLevel(
        addsPrefixSpace: try fields.bool("add_prefix_space"),
        trimsOffsets: try fields.bool("trim_offsets"),
        usesRegex: try fields.bool("use_regex", default: true))
    case "CharDelimiterSplit":
      try fields.allow("delimiter")
      self = .delimiter(try fields.scalar("delimiter"))
    case "Digits":
      try fields.allow("individual_digits")
      self = .digits(individual: try fields.bool("individual_digits"))
    case "FixedLength":
      try fields.allow("length")
      let length = try fields.count("length", default: 5)
      guard length > 0 else {
        throw FileFields.wrong(.integer(length), fields.path("length"), "1 or more")
      }
      self = .fixedLength(length)
    case "Metaspace": self = .metaspace(try Metaspace(fields))
    case "Punctuation":
      try fields.allow("behavior")
      self = .punctuation(try fields.choice("behavior", default: .isolated))
    case "Sequence":
      try fields.allow("pretokenizers")
      self = .sequence(
        try fields.elements("pretokenizers").enumerated().map {
          try PreTokenizer($1, at: "\(path).pretokenizers[\($0)]")
        })
    case "Split":
      try fields.allow("pattern", "behavior", "invert")
      self = .split(
        try Pattern(try fields.value("pattern"), at: fields.path("pattern")),
        try fields.choice("behavior"), inverted: try fields.bool("invert"))
    case "Whitespace":
      try fields.allow()
      self = .whitespace
    case "WhitespaceSplit":
      try fields.allow()
      self = .whitespaceSplit
    case let name:
      throw ApusError(
        .unsupported, "the pre-tokenizer '\(name)' is not known", at: fields.path("type"),
        expected: """
          BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength, Metaspace, Punctuation, \
          Sequence, Split, Whitespace or WhitespaceSplit
          """)
    }
  }

  var json: JSON {
    switch self {
    case .bert: .object([("type", "BertPreTokenizer")])
    case .byteLevel(let addsPrefixSpace, let trimsOffsets, let usesRegex):
      byteLevelJSON(addsPrefixSpace, trimsOffsets, usesRegex)
    case .delimiter(let delimiter):
      .object([("type", "CharDelimiterSplit"), ("delimiter", .string(String(delimiter)))])
    case .digits(let individual):
      .object([("type", "Digits"), ("individual_digits", .bool(individual))])
    case .fixedLength(let length):
      .object([("type", "FixedLength"), ("length", .integer(length))])
    case .metaspace(let metaspace): metaspace.json
    case .punctuation(let behavior):
      .object([("type", "Punctuation"), ("behavior", .string(behavior.rawValue))])
    case .sequence(let steps):
      .object([("type", "Sequence"), ("pretokenizers", .array(steps.map(\.json)))])
    case .split(let pattern, let behavior, let inverted):
      .object([
        ("type", "Split"), ("pattern", pattern.json), ("behavior", .string(behavior.rawValue)),
        ("invert", .bool(inverted)),
      ])
    case .whitespace: .object([("type", "Whitespace")])
    case .whitespaceSplit: .object([("type", "WhitespaceSplit")])
    }
  }
}

/// The three settings that all parts of byte-level tokenizers have, whichever they use.
func byteLevelJSON(_ addsPrefixSpace: Bool, _ trimsOffsets: Bool, _ usesRegex: Bool) -> JSON {
  .object([
    ("type", "ByteLevel"), ("add_prefix_space", .bool(addsPrefixSpace)),
    ("trim_offsets", .bool(trimsOffsets)), ("use_regex", .bool(usesRegex)),
  ])
}

extension Metaspace {
  /// - Throws: `invalidFile` and `unsupported` naming the field.
  init(_ fields: FileFields) throws {
    // The last two stand in files from before version 0.15 of the library.
    try fields.allow("replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep")
    replacement = try fields.scalar("replacement")
    let addsPrefixSpace = try fields.bool("add_prefix_space", default: true)
    scheme = try fields.choice("prepend_scheme", default: addsPrefixSpace ? .always : .never)
    guard addsPrefixSpace || scheme == .never else {
      throw ApusError(
        .invalidFile, "add_prefix_space is false, and prepend_scheme is '\(scheme.rawValue)'",
        at: fields.path("add_prefix_space"), expected: "two that agree")
    }
    splits = try fields.bool("split", default: true)
  }

  var json: JSON {
    .object([
      ("type", "Metaspace"), ("replacement", .string(String(replacement))),
      ("prepend_scheme", .string(scheme.rawValue)), ("split", .bool(splits)),
    ])
  }
}
