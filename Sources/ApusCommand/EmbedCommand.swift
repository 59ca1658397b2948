// `apus embed`: texts as vectors, line by line.

import Apus
import ApusLanguage
import ArgumentParser
import Foundation

struct EmbedCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Write texts as vectors of an encoder of sentences.",
    discussion: """
      Each line of the files, or of standard input, is a text; with --field it is a JSON object, and the text is \
      that string of it, which may have line breaks. For each text a JSON list of numbers goes to standard output, in \
      order; with --npy all go to one array. The model is a folder of sentence-transformers, or of a BERT with its \
      tokenizer.json, whose tokens' vectors are averaged then. Texts that are too long for it are cut, and bytes that \
      are no UTF-8 become U+FFFD; how many is told at the end.
      """)

  @Argument(help: ArgumentHelp("The folder of the model.", valueName: "model-folder"))
  var folder: String

  @Argument(help: "Files of texts, a line each. Default: standard input.")
  var files: [String] = []

  @Option(
    help: ArgumentHelp(
      "Lines are JSON objects, and this is the name of the text in them.", valueName: "name"))
  var field: String?

  @Option(
    help: ArgumentHelp("Write an array f32[texts, width] to this .npy file.", valueName: "file"))
  var npy: String?

  @Option(help: ArgumentHelp("What the model is told of the texts.", valueName: "name"))
  var prompt: String?

  @Option(name: [.short, .long], help: "Texts that go through the model at once.")
  var batch = 32

  @OptionGroup var execution: ExecutionOptions

  func validate() throws {
    guard !folder.isEmpty else {
      throw ValidationError("the model's folder is empty: a folder is expected.")
    }
    guard npy != "" else { throw ValidationError("--npy is empty: a file is expected.") }
    guard (1...4096).contains(batch) else {
      throw ValidationError("--batch is \(batch): 1 to 4096 is expected.")
    }
  }

  func run() throws {
    try execution.warnOfManyThreads()
    let encoder = try SentenceEncoder(folder: folder, compile: execution.compileOptions)
    if let prompt, encoder.prompts[prompt] == nil {
      throw ApusError(
        .missing, "there is no prompt '\(prompt)'", at: folder,
        expected: encoder.prompts.isEmpty
          ? "no --prompt: the model has none"
          : "one of \(encoder.prompts.keys.sorted().joined(separator: ", "))")
    }
    if let npy { try AtomicFile.checkWritable(npy) }
    var progress = Progress()
    var all: [Float] = []
    for file in files.isEmpty ? [nil] : files.map(Optional.some) {
      var lines = try TextLines(file)
      while case let batch = try lines.nextBatch(), !batch.isEmpty {
        let texts = try lines.texts(of: batch, field: field, replacements: &progress.replacements)
        let vectors = try vectors(of: texts, encoder, &progress)
        if npy != nil { all += vectors } else { try write(vectors, encoder.width) }
      }
    }
    progress.show(isLast: true)
    if let npy {
      try NPY.write(
        NDArray(checking: all, shape: [all.count / encoder.width, encoder.width]), to: npy)
    }
    if progress.truncated > 0 {
      StandardError.warn(
        "\(progress.truncated) texts had more than \(encoder.maximumLength) tokens and were cut")
    }
    if progress.replacements > 0 {
      StandardError.warn(
        "\(progress.replacements) times bytes were no UTF-8 and became U+FFFD")
    }
  }

  private func vectors(
    of texts: [String], _ encoder: SentenceEncoder, _ progress: inout Progress
  ) throws -> [Float] {
    let tokens = try encoder.tokens(of: texts, prompt: prompt, threads: execution.threads)
    progress.truncated += tokens.truncated.count
    let vectors = try encoder.encode(tokens, batch: batch) { count in
      progress.texts += count
      progress.show(isLast: false)
    }
    guard vectors.isFinite else {
      throw ApusError(
        .nonFinite, "the model makes vectors that hold a NaN or an infinity", at: folder,
        expected: "finite weights")
    }
    return vectors.floats
  }

  private func write(_ vectors: [Float], _ width: Int) throws {
    var output = ""
    for start in stride(from: 0, to: vectors.count, by: width) {
      output += "["
      for (index, value) in vectors[start..<start + width].enumerated() {
        output += index > 0 ? ",\(value)" : "\(value)"
      }
      output += "]\n"
    }
    try Output.write(output)
  }

  /// What has been done, told on standard error while somebody watches.
  private struct Progress {
    var texts = 0
    var truncated = 0
    var replacements = 0
    private var line = WatchedLine()

    mutating func show(isLast: Bool) {
      line.show(isLast: isLast) { [texts] seconds in
        String(format: "%d texts, %.0f a second", texts, Double(texts) / seconds)
      }
    }
  }
}
