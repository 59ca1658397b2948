// Text that goes on from text.

import Apus
import ApusText
import Foundation

/// A language model and its tokenizer: texts in, texts out.
///
///     let generator = try TextGenerator(folder: "gpt2")
///     let found = try generator.generate("Once upon a time") { print($0, terminator: "") }
///     print(found.tokens.count, found.ending)
///
/// Text comes as tokens are chosen, whole characters at a time. Equal seeds give equal texts.
public final class TextGenerator {
  public let tokenizer: Tokenizer
  /// How texts are continued where a call says nothing else: what the folder says.
  public let settings: GenerationSettings
  /// The most tokens of a text, its beginning included.
  public let length: Int
  private let model: any WritingModel

  /// A continuation.
  public struct Continuation: Sendable, Hashable {
    /// What made it end.
    public enum Ending: Sendable, Hashable {
      /// One of ``GenerationSettings/ends``.
      case end
      /// One of ``GenerationSettings/stops``.
      case stop(String)
      /// As many tokens as were allowed.
      case length
    }
    /// What comes after the prompt, without what ended it.
    public let text: String
    /// All tokens that were chosen, that which ended it included.
    public let tokens: [Int]
    /// Tokens that the prompt had.
    public let promptCount: Int
    public let ending: Ending
  }

  /// The model of a folder of Hugging Face: `config.json`, weights as safetensors, `tokenizer.json`, and where it is there
  /// `generation_config.json`. Models of GPT-2's and Llama's kind.
  ///
  /// - `length`: the most tokens of a text; the model's own limit by default. Caches are made for so many.
  /// - Throws: `unsupported` for another `model_type`; what ``GPT2/init(contentsOf:)``, `Tokenizer(file:)` and
  ///   ``GenerationSettings/init(json:at:)`` say.
  public convenience init(
    folder: String, length: Int? = nil, compile: CompileOptions = CompileOptions()
  ) throws {
    let folder = folder.hasSuffix("/") && folder.count > 1 ? String(folder.dropLast()) : folder
    let configuration = "\(folder)/config.json", said = "\(folder)/generation_config.json"
    let text = try Self.contents(configuration)
    let settings =
      FileManager.default.fileExists(atPath: said)
      ? try GenerationSettings(json: try Self.contents(said), at: said)
      : try GenerationSettings(json: text, at: configuration)
    let tokenizer = try Tokenizer(file: "\(folder)/tokenizer.json")
    let kind = (try? JSON(parsing: text))?["model_type"]?.string
    switch kind {
    case "gpt2":
      try self.init(
        GPT2(contentsOf: folder), tokenizer: tokenizer, settings: settings, length: length,
        compile: compile)
    case "llama":
      try self.init(
        Llama(contentsOf: folder), tokenizer: tokenizer, settings: settings, length: length,
        compile: compile)
    default:
      throw ApusError(
        .unsupported, "'model_type' is " + (kind.map { "\"\($0)\"" } ?? "not given"),
        at: configuration, expected: "\"gpt2\" or \"llama\", which write text")
    }
  }

  /// - `length`: the most tokens of a text; the model's own limit by default.
  /// - Throws: `missing` where the model has no values, `invalidArgument` for a length that it has no positions for.
  public init(
    _ model: some CausalLanguageModel, tokenizer: Tokenizer,
    settings: GenerationSettings = GenerationSettings(), length: Int? = nil,
    compile: CompileOptions = CompileOptions()
  ) throws {
    let generator = try TokenGenerator(model, length: length, compile: compile)
    self.model = generator
    self.length = generator.length
    self.tokenizer = tokenizer
    self.settings = settings
  }

  private static func contents(_ path: String) throws -> String {
    try TextFile.contents(path, limit: 1 << 22, expected: "settings of a model")
  }

  /// Goes on with a text.
  ///
  /// - `settings`: instead of the folder's.
  /// - `seed`: of what is drawn.
  /// - `onText`: hears of the text as it comes; what it throws ends the run. Beams are told when they have ended.
  /// - Throws: `invalidArgument` for a prompt that has no tokens and nothing to begin with, or more than the model has
  ///   positions for, and for settings that make no sense; `outOfRange` where the tokenizer has tokens that the model
  ///   does not know; `nonFinite` where no token has a score.
  public func generate(
    _ prompt: String, settings: GenerationSettings? = nil, seed: UInt64 = 0,
    onText: (String) throws -> Void = { _ in }
  ) throws -> Continuation {
    let settings = settings ?? self.settings
    var row = try tokenizer.ids(of: [prompt], threads: 1)[0]
    if row.isEmpty, let start = settings.start { row = [start] }
    guard !row.isEmpty else {
      throw ApusError(
        .invalidArgument, "the prompt has no tokens", at: "prompt",
        expected: "some text: the model's folder names no token that begins one")
    }
    guard row.count < length else {
      throw ApusError(
        .invalidArgument, "the prompt has \(row.count) tokens", at: "prompt",
        expected: "at most \(length - 1), so that one can follow")
    }
    guard settings.stops.allSatisfy({ !$0.isEmpty }) else {
      throw ApusError(
        .invalidArgument, "a stop is the empty string", at: "stops", expected: "some text")
    }
    let count = min(settings.newTokens ?? .max, length - row.count)
    var output = StoppedText(StreamingDecoder(tokenizer), settings.stops)
    func tell(_ text: String) throws {
      if !text.isEmpty { try onText(text) }
    }
    if let beams = settings.beams {
      let best = try model.search(row, by: count, beams: beams, ends: settings.ends)[0].tokens
      for token in best where output.stop == nil {
        if !settings.ends.contains(token) { try tell(output.append(token)) }
      }
      try tell(output.finish())
      return output.continuation(of: row, best, settings.ends)
    }
    struct Stopped: Error {}
    var tokens: [Int] = []
    do {
      _ = try model.continue(
        [row], by: count, sampling: settings.sampling, seed: seed, ends: settings.ends
      ) { token, _ in
        tokens.append(token)
        if settings.ends.contains(token) { return }
        try tell(output.append(token))
        if output.stop != nil { throw Stopped() }
      }
    } catch is Stopped {}
    try tell(output.finish())
    return output.continuation(of: row, tokens, settings.ends)
  }
}

/// What a text's generator asks of a model's, whatever the model.
private protocol WritingModel {
  func `continue`(
    _ rows: [[Int]], by count: Int, sampling: TokenSampling, seed: UInt64, ends: Set<Int>,
    onToken: (_ token: Int, _ row: Int) throws -> Void
  ) throws -> [[Int]]
  func search(
    _ row: [Int], by count: Int, beams: BeamSearch, ends: Set<Int>
  ) throws -> [BeamSearch.Hypothesis]
}

extension TokenGenerator: WritingModel {}

/// Text as it comes, up to the first of some strings.
struct StoppedText {
  private var decoder: StreamingDecoder
  private let stops: [String]
  private(set) var text = ""
  /// What may be the beginning of a stop, and is not told before that is known.
  private var held = ""
  /// The string that ended the text.
  private(set) var stop: String?

  init(_ decoder: StreamingDecoder, _ stops: [String]) {
    self.decoder = decoder
    self.stops = stops
  }

  /// Takes a token. Returns what is new of the text.
  mutating func append(_ token: Int) throws -> String { take(try decoder.append(token)) }

  /// What is left when no token comes any more.
  mutating func finish() -> String {
    guard stop == nil else { return "" }
    let new = take(decoder.finish())
    guard stop == nil else { return new }
    defer { held = "" }
    text += held
    return new + held
  }

  private mutating func take(_ new: String) -> String {
    guard stop == nil, !new.isEmpty else { return "" }
    var all = held + new
    held = ""
    let found = stops.compactMap { stop in all.range(of: stop).map { (stop, $0.lowerBound) } }
    if let (first, place) = found.min(by: { $0.1 < $1.1 }) {
      stop = first
      all = String(all[..<place])
    } else {
      // The longest end of the text that a stop begins with. A character may grow by what follows it, so places are
      // those of Unicode scalars.
      let start = all.unicodeScalars.indices.first { start in
        stops.contains { $0.unicodeScalars.starts(with: all.unicodeScalars[start...]) }
      }
      if let start {
        held = String(all[start...])
        all = String(all[..<start])
      }
    }
    text += all
    return all
  }

  func continuation(
    of prompt: [Int], _ tokens: [Int], _ ends: Set<Int>
  ) -> TextGenerator.Continuation {
    let ending: TextGenerator.Continuation.Ending
    if let stop {
      ending = .stop(stop)
    } else if let last = tokens.last, ends.contains(last) {
      ending = .end
    } else {
      ending = .length
    }
    return TextGenerator.Continuation(
      text: text, tokens: tokens, promptCount: prompt.count, ending: ending)
  }
}
