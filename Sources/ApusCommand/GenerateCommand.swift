// `apus generate`: text that goes on from prompts.

import Apus
import ApusLanguage
import ArgumentParser
import Foundation

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Go on with texts by a language model.",
    discussion: """
      The model is a folder of Hugging Face: config.json (gpt2 or llama), weights as safetensors and tokenizer.json; \
      generation_config.json, where it is there, says how tokens are chosen, and options say otherwise. What follows \
      --prompt goes to standard output as it comes. Without --prompt each line of the files, or of standard input, is a \
      prompt (with --field a JSON object that has it), and each continuation is a line of JSON: text, tokens, ending. \
      Equal seeds give equal texts.
      """)

  @Argument(help: ArgumentHelp("The folder of the model.", valueName: "model-folder"))
  var folder: String

  @Argument(help: "Files of prompts, a line each. Default: standard input.")
  var files: [String] = []

  @Option(name: [.short, .long], help: "The text to go on with.")
  var prompt: String?

  @Option(
    help: ArgumentHelp(
      "Lines are JSON objects, and this is the name of the prompt in them.", valueName: "name"))
  var field: String?

  @Option(
    name: [.short, .long], help: "The most tokens that follow. Default: the folder's, or 100.")
  var tokens: Int?

  @Option(help: "What logits are divided by before a token is drawn; 0 takes the likeliest.")
  var temperature: Double?

  @Option(help: "Only so many of the likeliest tokens may be drawn.")
  var topK: Int?

  @Option(help: "Only the likeliest tokens may be drawn that together have this share.")
  var topP: Double?

  @Option(help: "Only tokens may be drawn that are at least this times as likely as the likeliest.")
  var minP: Double?

  @Option(help: "Above 1, tokens that the text has become less likely.")
  var repetitionPenalty: Double?

  @Option(help: "Search for the likeliest text with so many beams; nothing is drawn.")
  var beams: Int?

  @Option(help: "The power of the length that a beam's logarithm is divided by.")
  var lengthPenalty: Double?

  @Option(help: "A string that ends the text, and is no part of it; repeatable.")
  var stop: [String] = []

  @Option(help: "Of what is drawn.")
  var seed: UInt64 = 0

  @Option(help: "Positions of the model that are used, for prompt and text. Default: all.")
  var length: Int?

  @OptionGroup var execution: ExecutionOptions

  func validate() throws {
    func require(_ holds: Bool, _ message: String) throws {
      if !holds { throw ValidationError(message) }
    }
    try require(!folder.isEmpty, "the model's folder is empty: a folder is expected.")
    try require(
      prompt == nil || files.isEmpty && field == nil,
      "--prompt: files and --field are for many prompts.")
    try require(tokens ?? 1 >= 1, "--tokens is \(tokens ?? 0): 1 or more is expected.")
    try require(
      (0...1e6).contains(temperature ?? 0),
      "--temperature is \(temperature ?? 0): 0 or more is expected.")
    try require(topK ?? 1 >= 1, "--top-k is \(topK ?? 0): 1 or more is expected.")
    try require(
      topP.map { $0 > 0 && $0 <= 1 } ?? true,
      "--top-p is \(topP ?? 0): above 0, at most 1 is expected.")
    try require((0...1).contains(minP ?? 0), "--min-p is \(minP ?? 0): 0 to 1 is expected.")
    try require(
      (repetitionPenalty ?? 1) > 0 && (repetitionPenalty ?? 1).isFinite,
      "--repetition-penalty is \(repetitionPenalty ?? 0): a number above 0 is expected.")
    try require((1...4096).contains(beams ?? 1), "--beams is \(beams ?? 0): 1 to 4096 is expected.")
    try require(
      (lengthPenalty ?? 0).isFinite,
      "--length-penalty is \(lengthPenalty ?? 0): a number is expected.")
    try require(!stop.contains(""), "--stop is empty: some text is expected.")
    let draws = temperature != nil || topK != nil || topP != nil || minP != nil
    try require(
      beams == nil || !draws && repetitionPenalty == nil,
      "--beams: a search draws nothing, so that the options of drawing are not for it.")
    try require(
      lengthPenalty == nil || beams != nil, "--length-penalty is of a search: --beams is expected.")
  }

  func run() throws {
    try execution.warnOfManyThreads()
    let generator = try TextGenerator(
      folder: folder, length: length, compile: execution.compileOptions)
    let settings = settings(generator.settings)
    if let prompt {
      let found = try generator.generate(prompt, settings: settings, seed: seed) {
        try Output.write($0)
      }
      try Output.write("\n")
      if found.ending == .length, found.promptCount + found.tokens.count == generator.length {
        StandardError.warn("the text has as many tokens as the model has positions for")
      }
      return
    }
    var replacements = 0
    for file in files.isEmpty ? [nil] : files.map(Optional.some) {
      var lines = try TextLines(file)
      while case let batch = try lines.nextBatch(), !batch.isEmpty {
        let prompts = try lines.texts(of: batch, field: field, replacements: &replacements)
        for (line, prompt) in zip(batch.map(\.line), prompts) {
          do {
            try write(generator.generate(prompt, settings: settings, seed: seed))
          } catch var error as ApusError {
            error.location = "\(lines.path), line \(line)"
            throw error
          }
        }
      }
    }
    if replacements > 0 {
      StandardError.warn("\(replacements) times bytes were no UTF-8 and became U+FFFD")
    }
  }

  private func write(_ found: TextGenerator.Continuation) throws {
    let ending =
      switch found.ending {
      case .end: "end"
      case .stop: "stop"
      case .length: "length"
      }
    try Output.line(
      .object([
        ("text", .string(found.text)), ("tokens", .integer(found.tokens.count)),
        ("prompt_tokens", .integer(found.promptCount)), ("ending", .string(ending)),
      ]))
  }

  /// The folder's settings with what options change. An option of drawing makes a greedy folder's texts drawn.
  private func settings(_ said: GenerationSettings) -> GenerationSettings {
    var settings = said
    settings.newTokens = tokens ?? said.newTokens ?? 100
    settings.stops += stop
    if let beams {
      settings.beams =
        beams == 1
        ? nil
        : BeamSearch(
          width: beams, lengthPenalty: lengthPenalty ?? said.beams?.lengthPenalty ?? 1,
          stopping: said.beams?.stopping ?? .byScore)
      settings.sampling = .greedy
      return settings
    }
    if let repetitionPenalty { settings.sampling.repetitionPenalty = repetitionPenalty }
    guard temperature != nil || topK != nil || topP != nil || minP != nil else { return settings }
    settings.beams = nil
    if settings.sampling.temperature == 0 { settings.sampling.temperature = 1 }
    if let temperature { settings.sampling.temperature = temperature }
    if let topK { settings.sampling.topK = topK }
    if let topP { settings.sampling.topP = topP }
    if let minP { settings.sampling.minP = minP }
    return settings
  }
}
