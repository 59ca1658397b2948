// Models in `tokenizer.json`.

import ApusGraph

/// Reads the member `model`.
///
/// - Throws: `invalidFile` and `unsupported` naming the field.
func tokenModel(_ value: JSON, at path: String) throws -> any TokenModel {
  let fields = try FileFields(value, at: path)
  switch try fields.optionalString("type") ?? kind(fields) {
  case "WordPiece":
    try fields.allow("unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab")
    return WordPiece(
      try vocabulary(fields), unknown: try fields.string("unk_token"),
      prefix: try fields.string("continuing_subword_prefix"),
      mostScalars: try fields.count("max_input_chars_per_word"))
  case "WordLevel":
    try fields.allow("unk_token", "vocab")
    return WordLevel(try vocabulary(fields), unknown: try fields.string("unk_token"))
  case "BPE": return try bytePairEncoding(fields)
  case "Unigram": return try unigram(fields)
  case let name:
    throw ApusError(
      .unsupported, "the model '\(name)' is not known", at: fields.path("type"),
      expected: "BPE, Unigram, WordLevel or WordPiece")
  }
}

/// What a model is whose file, from before version 0.10 of the library, does not say it.
private func kind(_ fields: FileFields) throws -> String {
  if fields.optional("merges") != nil { return "BPE" }
  if fields.optional("max_input_chars_per_word") != nil { return "WordPiece" }
  return try fields.string("type")
}

private func vocabulary(_ fields: FileFields) throws -> Vocabulary {
  let path = fields.path("vocab")
  let value = try fields.value("vocab")
  guard let members = value.members else { throw FileFields.wrong(value, path, "an object of ids") }
  var vocabulary = Vocabulary(reserving: members.count)
  for (token, id) in members {
    guard let id = id.integer else { throw FileFields.wrong(id, "\(path).\(token)", "an id") }
    try vocabulary.add(Array(token.utf8), id: id, at: "\(path).\(token)")
  }
  return vocabulary
}

private func bytePairEncoding(_ fields: FileFields) throws -> BytePairEncoding {
  try fields.allow(
    "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
    "byte_fallback", "ignore_merges", "vocab", "merges")
  var options = BytePairEncoding.Options()
  options.unknown = try fields.optionalString("unk_token")
  options.prefix = try fields.optionalString("continuing_subword_prefix")
  options.suffix = try fields.optionalString("end_of_word_suffix")
  options.fusesUnknown = try fields.bool("fuse_unk", default: false)
  options.fallsBackToBytes = try fields.bool("byte_fallback", default: false)
  options.ignoresMerges = try fields.bool("ignore_merges", default: false)
  if let dropout = fields.optional("dropout") {
    guard let value = dropout.double else {
      throw FileFields.wrong(dropout, fields.path("dropout"), "a number or null")
    }
    guard value == 0 else {
      throw ApusError(
        .unsupported, "merges are dropped at random, with probability \(value)",
        at: fields.path("dropout"), expected: "0 or null: one text has one encoding")
    }
    options.dropout = dropout
  }
  let vocabulary = try vocabulary(fields)
  let skipped = (options.prefix ?? "").unicodeScalars.count
  let list = try fields.elements("merges")
  var merges = MergeTable(reserving: list.count)
  var rank = 0
  for (index, merge) in list.enumerated() {
    func place() -> String { "\(fields.path("merges"))[\(index)]" }
    let parts: [[UInt8]]
    if let text = merge.string {
      if text.utf8.starts(with: "#version".utf8) { continue }
      parts = text.utf8.split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init)
    } else if let pair = merge.elements, pair.allSatisfy({ $0.string != nil }) {
      parts = pair.map { Array($0.string!.utf8) }
    } else {
      throw FileFields.wrong(merge, place(), "two tokens")
    }
    guard parts.count == 2 else {
      throw FileFields.wrong(merge, place(), "two tokens, \(parts.count) are there")
    }
    func id(_ token: [UInt8]) throws -> Int32 {
      guard let id = vocabulary.id(of: token) else {
        throw ApusError(
          .invalidFile,
          "the vocabulary has no token '\(String(decoding: token, as: UTF8.self))'", at: place(),
          expected: "tokens of the vocabulary, before and after the merge")
      }
      return id
    }
    let left = try id(parts[0]), right = try id(parts[1])
    merges.insert(
      left, right, rank: rank, id: try id(parts[0] + Array(parts[1].dropFirst(skipped))))
    rank += 1
  }
  return BytePairEncoding(vocabulary, merges, options)
}

private func unigram(_ fields: FileFields) throws -> Unigram {
  try fields.allow("unk_id", "vocab", "byte_fallback")
  let list = try fields.elements("vocab")
  var vocabulary = Vocabulary(reserving: list.count)
  var tokens: [[UInt8]] = [], scores: [Double] = []
  for (id, entry) in list.enumerated() {
    guard let pair = entry.elements, pair.count == 2, let token = pair[0].string,
      let score = pair[1].double, score.isFinite
    else {
      throw FileFields.wrong(entry, "\(fields.path("vocab"))[\(id)]", "a token and a number")
    }
    tokens.append(Array(token.utf8))
    scores.append(score)
    try vocabulary.add(Array(token.utf8), id: id, at: fields.path("vocab"))
  }
  var unknown: Int32?
  if fields.optional("unk_id") != nil {
    let id = try fields.count("unk_id")
    guard id < list.count else {
      throw ApusError(
        .outOfRange, "the id of what is not known is \(id)", at: fields.path("unk_id"),
        expected: "below \(list.count), as there are tokens")
    }
    unknown = Int32(id)
  }
  return Unigram(
    vocabulary, tokens: tokens, scores: scores, unknownID: unknown,
    fallsBackToBytes: try fields.bool("byte_fallback", default: false))
}
