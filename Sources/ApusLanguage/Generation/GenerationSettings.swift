// How a model goes on with a text: what a folder's generation_config.json says, and what a caller changes.

import Apus
import Foundation

/// How text is generated: how tokens are chosen, when a text ends.
///
///     var settings = generator.settings            // as the folder says
///     settings.sampling = TokenSampling(temperature: 0.8, topP: 0.95)
///     settings.newTokens = 200
public struct GenerationSettings: Sendable, Hashable {
  /// The most tokens of a text's continuation; as many as the model has positions for by default.
  public var newTokens: Int?
  public var sampling: TokenSampling
  /// Where it is set the likeliest text is searched for, and nothing is drawn.
  public var beams: BeamSearch?
  /// Tokens that end a text.
  public var ends: Set<Int>
  /// What begins a text that has no tokens.
  public var start: Int?
  /// Strings that end a text; they are no part of it.
  public var stops: [String]

  public init(
    newTokens: Int? = nil, sampling: TokenSampling = .greedy, beams: BeamSearch? = nil,
    ends: Set<Int> = [], start: Int? = nil, stops: [String] = []
  ) {
    self.newTokens = newTokens
    self.sampling = sampling
    self.beams = beams
    self.ends = ends
    self.start = start
    self.stops = stops
  }

  /// What a `generation_config.json`, or where there is none a `config.json`, says. As Hugging Face has it, nothing is
  /// drawn unless `do_sample` is true, and then `top_k` is 50 unless it is given; keys that change nothing here are
  /// left out.
  ///
  /// - `path`: of the file, for errors.
  /// - Throws: `parse` with the byte offset where it is no JSON; `invalidArgument` naming a key whose value makes no
  ///   sense; `unsupported` for a search or a penalty that there is not here.
  public init(json text: String, at path: String) throws {
    let json: JSON
    do { json = try JSON(parsing: text) } catch var error as ApusError {
      error.location = [path, error.location].compactMap { $0 }.joined(separator: ", ")
      throw error
    }
    guard json.members != nil else {
      throw ApusError(.parse, "the settings are no JSON object", at: path, expected: "'{'")
    }
    let reader = SettingsReader(json: json, path: path)
    self.init()
    ends = try reader.tokens("eos_token_id")
    start = try reader.tokens("bos_token_id").min()
    newTokens = try reader.integer("max_new_tokens", 1...(1 << 30))
    stops = try reader.strings("stop_strings")
    let width = try reader.integer("num_beams", 1...4096) ?? 1
    let samples = try reader.flag("do_sample") ?? false
    sampling.repetitionPenalty = try reader.number("repetition_penalty") { $0 > 0 } ?? 1
    if samples {
      guard width == 1 else {
        throw reader.error(
          .unsupported, "'num_beams' is \(width) and 'do_sample' is true", "one of them")
      }
      sampling.temperature = try reader.number("temperature") { $0 >= 0 } ?? 1
      let k = try reader.integer("top_k", 0...(1 << 30)) ?? 50
      sampling.topK = k == 0 ? nil : k
      sampling.topP = try reader.number("top_p") { $0 > 0 && $0 <= 1 }
      sampling.minP = try reader.number("min_p") { $0 >= 0 && $0 <= 1 }
    } else if width > 1 {
      guard sampling.repetitionPenalty == 1 else {
        throw reader.error(
          .unsupported,
          "'repetition_penalty' is \(sampling.repetitionPenalty) and 'num_beams' \(width)",
          "one of them")
      }
      let penalty = try reader.number("length_penalty") { _ in true } ?? 1
      beams = BeamSearch(width: width, lengthPenalty: penalty, stopping: try reader.stopping())
    }
    for (key, neutral) in [
      ("no_repeat_ngram_size", 0.0), ("typical_p", 1), ("num_beam_groups", 1), ("min_length", 0),
      ("min_new_tokens", 0), ("epsilon_cutoff", 0), ("eta_cutoff", 0), ("penalty_alpha", 0),
    ] {
      if let value = reader.value(key), value.double != neutral {
        throw reader.error(
          .unsupported, "'\(key)' is \(value.text)", "\(JSON.number(neutral).text), or no such key")
      }
    }
  }
}

/// Members of the settings' object; null counts as none.
private struct SettingsReader {
  let json: JSON
  let path: String

  func error(_ kind: ApusError.Kind, _ what: String, _ expected: String) -> ApusError {
    ApusError(kind, what, at: path, expected: expected)
  }

  func value(_ key: String) -> JSON? {
    guard let value = json[key], value != .null else { return Optional.none }
    return value
  }

  private func read<T>(_ key: String, _ expected: String, _ take: (JSON) -> T?) throws -> T? {
    guard let value = value(key) else { return Optional.none }
    guard let found = take(value) else {
      throw error(.invalidArgument, "'\(key)' is \(value.text)", expected)
    }
    return found
  }

  func flag(_ key: String) throws -> Bool? { try read(key, "true or false") { $0.bool } }

  func integer(_ key: String, _ range: ClosedRange<Int>) throws -> Int? {
    try read(key, "a whole number from \(range.lowerBound) to \(range.upperBound)") {
      $0.integer.flatMap { range.contains($0) ? $0 : nil }
    }
  }

  func number(_ key: String, _ isSense: (Double) -> Bool) throws -> Double? {
    try read(key, "another number") {
      $0.double.flatMap { $0.isFinite && isSense($0) ? $0 : nil }
    }
  }

  /// A token or a list of them.
  func tokens(_ key: String) throws -> Set<Int> {
    try read(key, "a token's number, or a list of them") { value in
      let all = (value.elements ?? [value]).map { $0.integer ?? -1 }
      return all.allSatisfy { $0 >= 0 } ? Set(all) : nil
    } ?? []
  }

  func strings(_ key: String) throws -> [String] {
    try read(key, "a string, or a list of them") { value in
      let all = (value.elements ?? [value]).map(\.string)
      return all.contains { $0 == nil || $0 == "" } ? nil : all.compactMap { $0 }
    } ?? []
  }

  func stopping() throws -> BeamSearch.Stopping {
    try read("early_stopping", "true, false or \"never\"") { value in
      if let flag = value.bool { return flag ? .whenFull : .byScore }
      return value.string == "never" ? .never : nil
    } ?? .byScore
  }
}
