// Decoders and post-processors in `tokenizer.json`.

import ApusGraph

extension Decoder {
  /// - Throws: `invalidFile` and `unsupported` naming the field.
  init(_ value: JSON, at path: String) throws {
    let fields = try FileFields(value, at: path)
    switch try fields.string("type") {
    case "BPEDecoder":
      try fields.allow("suffix")
      self = .bpe(suffix: try fields.string("suffix"))
    case "ByteFallback":
      try fields.allow()
      self = .byteFallback
    case "ByteLevel":
      try fields.allow("add_prefix_space", "trim_offsets", "use_regex")
      self = .byteLevel(
        addsPrefixSpace: try fields.bool("add_prefix_space", default: true),
        trimsOffsets: try fields.bool("trim_offsets", default: true),
        usesRegex: try fields.bool("use_regex", default: true))
    case "CTC":
      try fields.allow("pad_token", "word_delimiter_token", "cleanup")
      self = .ctc(
        pad: try fields.string("pad_token"),
        delimiter: try fields.string("word_delimiter_token"),
        cleansUp: try fields.bool("cleanup"))
    case "Fuse":
      try fields.allow()
      self = .fuse
    case "Metaspace": self = .metaspace(try Metaspace(fields))
    case "Replace":
      try fields.allow("pattern", "content")
      self = .replace(
        try Pattern(try fields.value("pattern"), at: fields.path("pattern")),
        content: try fields.string("content"))
    case "Sequence":
      try fields.allow("decoders")
      self = .sequence(
        try fields.elements("decoders").enumerated().map {
          try Decoder($1, at: "\(path).decoders[\($0)]")
        })
    case "Strip":
      try fields.allow("content", "start", "stop")
      self = .strip(
        try fields.scalar("content"), start: try fields.count("start"),
        stop: try fields.count("stop"))
    case "WordPiece":
      try fields.allow("prefix", "cleanup")
      self = .wordPiece(
        prefix: try fields.string("prefix"), cleansUp: try fields.bool("cleanup"))
    case let name:
      throw ApusError(
        .unsupported, "the decoder '\(name)' is not known", at: fields.path("type"),
        expected: """
          BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, Sequence, Strip or WordPiece
          """)
    }
  }

  var json: JSON {
    switch self {
    case .bpe(let suffix): .object([("type", "BPEDecoder"), ("suffix", .string(suffix))])
    case .byteFallback: .object([("type", "ByteFallback")])
    case .byteLevel(let addsPrefixSpace, let trimsOffsets, let usesRegex):
      byteLevelJSON(addsPrefixSpace, trimsOffsets, usesRegex)
    case .ctc(let pad, let delimiter, let cleansUp):
      .object([
        ("type", "CTC"), ("pad_token", .string(pad)),
        ("word_delimiter_token", .string(delimiter)), ("cleanup", .bool(cleansUp)),
      ])
    case .fuse: .object([("type", "Fuse")])
    case .metaspace(let metaspace): metaspace.json
    case .replace(let pattern, let content):
      .object([("type", "Replace"), ("pattern", pattern.json), ("content", .string(content))])
    case .sequence(let steps):
      .object([("type", "Sequence"), ("decoders", .array(steps.map(\.json)))])
    case .strip(let content, let start, let stop):
      .object([
        ("type", "Strip"), ("content", .string(String(content))), ("start", .integer(start)),
        ("stop", .integer(stop)),
      ])
    case .wordPiece(let prefix, let cleansUp):
      .object([
        ("type", "WordPiece"), ("prefix", .string(prefix)), ("cleanup", .bool(cleansUp)),
      ])
    }
  }
}

extension PostProcessor {
  /// - Throws: `invalidFile` and `unsupported` naming the field.
  init(_ value: JSON, at path: String) throws {
    let fields = try FileFields(value, at: path)
    switch try fields.string("type") {
    case "BertProcessing":
      try fields.allow("sep", "cls")
      self = .bert(
        separator: try SpecialToken(fields, "sep"), start: try SpecialToken(fields, "cls"))
    case "RobertaProcessing":
      try fields.allow("sep", "cls", "trim_offsets", "add_prefix_space")
      self = .roberta(
        separator: try SpecialToken(fields, "sep"), start: try SpecialToken(fields, "cls"),
        trimsOffsets: try fields.bool("trim_offsets"),
        addsPrefixSpace: try fields.bool("add_prefix_space"))
    case "ByteLevel":
      try fields.allow("add_prefix_space", "trim_offsets", "use_regex")
      self = .byteLevel(
        trimsOffsets: try fields.bool("trim_offsets", default: true),
        addsPrefixSpace: try fields.bool("add_prefix_space", default: true),
        usesRegex: try fields.bool("use_regex", default: true))
    case "TemplateProcessing": self = .template(try Template(fields))
    case "Sequence":
      try fields.allow("processors")
      self = .sequence(
        try fields.elements("processors").enumerated().map {
          try PostProcessor($1, at: "\(path).processors[\($0)]")
        })
    case let name:
      throw ApusError(
        .unsupported, "the post-processor '\(name)' is not known", at: fields.path("type"),
        expected: "BertProcessing, ByteLevel, RobertaProcessing, Sequence or TemplateProcessing")
    }
  }

  var json: JSON {
    func pair(_ token: SpecialToken) -> JSON { [.string(token.token), .integer(token.id)] }
    switch self {
    case .bert(let separator, let start):
      return .object([
        ("type", "BertProcessing"), ("sep", pair(separator)), ("cls", pair(start)),
      ])
    case .roberta(let separator, let start, let trimsOffsets, let addsPrefixSpace):
      return .object([
        ("type", "RobertaProcessing"), ("sep", pair(separator)), ("cls", pair(start)),
        ("trim_offsets", .bool(trimsOffsets)), ("add_prefix_space", .bool(addsPrefixSpace)),
      ])
    case .byteLevel(let trimsOffsets, let addsPrefixSpace, let usesRegex):
      return byteLevelJSON(addsPrefixSpace, trimsOffsets, usesRegex)
    case .template(let template): return template.json
    case .sequence(let steps):
      return .object([("type", "Sequence"), ("processors", .array(steps.map(\.json)))])
    }
  }
}

extension PostProcessor.SpecialToken {
  /// A token and its id as a list of two.
  fileprivate init(_ fields: FileFields, _ name: String) throws {
    let pair = try fields.elements(name)
    guard pair.count == 2, let token = pair[0].string, let id = pair[1].integer,
      (0..<Int(Int32.max)).contains(id)
    else {
      throw FileFields.wrong(.array(pair), fields.path(name), "a token and its id, as a list")
    }
    self.init(token: token, id: id)
  }
}

extension PostProcessor.Template {
  fileprivate init(_ fields: FileFields) throws {
    try fields.allow("single", "pair", "special_tokens")
    let path = fields.path("special_tokens")
    specials = try (try fields.value("special_tokens").members ?? []).map { name, value in
      let special = try FileFields(value, at: "\(path).\(name)")
      try special.allow("id", "ids", "tokens")
      let ids = try special.elements("ids").map { id in
        guard let id = id.integer, (0..<Int(Int32.max)).contains(id) else {
          throw FileFields.wrong(id, special.path("ids"), "ids")
        }
        return id
      }
      let tokens = try special.elements("tokens").map { token in
        guard let token = token.string else {
          throw FileFields.wrong(token, special.path("tokens"), "strings")
        }
        return token
      }
      guard ids.count == tokens.count else {
        throw ApusError(
          .invalidFile, "\(ids.count) ids and \(tokens.count) tokens", at: special.path,
          expected: "as many of both")
      }
      return (name, Array(zip(ids, tokens)).map { (id: $0.0, token: $0.1) })
    }
    let names = Set(specials.map { ByteName($0.name) })
    (single, pair) = (
      try Self.parts(fields, "single", names), try Self.parts(fields, "pair", names)
    )
    for part in single {
      guard case .sequence(1, _) = part else { continue }
      throw ApusError(
        .invalidFile, "the template of one text has a second", at: fields.path("single"),
        expected: "sequence A alone")
    }
  }

  private static func parts(
    _ fields: FileFields, _ name: String, _ specials: Set<ByteName>
  ) throws -> [Part] {
    try fields.elements(name).enumerated().map { index, value in
      let path = "\(fields.path(name))[\(index)]"
      let part = try FileFields(value, at: path)
      try part.allow("Sequence", "SpecialToken")
      if let sequence = part.optional("Sequence") {
        let inner = try FileFields(sequence, at: part.path("Sequence"))
        try inner.allow("id", "type_id")
        let id = try inner.string("id")
        guard id == "A" || id == "B" else {
          throw FileFields.wrong(.string(id), inner.path("id"), "A or B")
        }
        return .sequence(id == "A" ? 0 : 1, typeID: try inner.count("type_id"))
      }
      let inner = try FileFields(try part.value("SpecialToken"), at: part.path("SpecialToken"))
      try inner.allow("id", "type_id")
      let id = try inner.string("id")
      guard specials.contains(ByteName(id)) else {
        throw FileFields.wrong(
          .string(id), inner.path("id"), "one of the template's special_tokens")
      }
      return .special(id, typeID: try inner.count("type_id"))
    }
  }

  fileprivate var json: JSON {
    func list(_ parts: [Part]) -> JSON {
      .array(
        parts.map { part in
          switch part {
          case .sequence(let index, let typeID):
            .object([
              (
                "Sequence",
                .object([("id", .string(index == 0 ? "A" : "B")), ("type_id", .integer(typeID))])
              )
            ])
          case .special(let name, let typeID):
            .object([
              ("SpecialToken", .object([("id", .string(name)), ("type_id", .integer(typeID))]))
            ])
          }
        })
    }
    return .object([
      ("type", "TemplateProcessing"), ("single", list(single)), ("pair", list(pair)),
      (
        "special_tokens",
        .object(
          specials.map { special in
            (
              special.name,
              .object([
                ("id", .string(special.name)),
                ("ids", .array(special.tokens.map { .integer($0.id) })),
                ("tokens", .array(special.tokens.map { .string($0.token) })),
              ])
            )
          })
      ),
    ])
  }
}
