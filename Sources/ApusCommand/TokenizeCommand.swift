// `apus tokenize`: texts as tokens, line by line.

import Apus
import ApusText
import ArgumentParser
import Foundation

extension TiktokenPattern: ExpressibleByArgument {}

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize", abstract: "Write texts as the tokens of a tokenizer.",
    discussion: """
      Each line of the files, or of standard input, is a text; with --field it is a JSON object, and the text is \
      that string of it, which may have line breaks. For each text a JSON list goes to standard output, in order. \
      Truncation and padding that the tokenizer's file says are applied, as other libraries do. Bytes that are no \
      UTF-8 become U+FFFD, and their number is told at the end.
      """)

  @Option(
    name: [.short, .long],
    help: ArgumentHelp(
      "A tokenizer.json, or with --tiktoken a file of tiktoken's ranks.", valueName: "file"))
  var tokenizer: String

  @Option(help: "The file is of tiktoken's ranks, and texts are cut as gpt2, cl100k or o200k does.")
  var tiktoken: TiktokenPattern?

  @Flag(help: "The ids of the tokens; the default.")
  var ids = false

  @Flag(help: "The tokens themselves, as the vocabulary spells them.")
  var tokens = false

  @Flag(help: "One object with the numbers of texts, bytes and tokens, and no lists.")
  var count = false

  @Option(
    help: ArgumentHelp(
      "Lines are JSON objects, and this is the name of the text in them.", valueName: "name"))
  var field: String?

  @Flag(help: "Leave out the special tokens that the tokenizer puts around a text.")
  var noSpecialTokens = false

  @Option(help: "How many threads work. Default: one for each processor.")
  var threads: Int?

  @Argument(help: "Files of texts, a line each. Default: standard input.")
  var files: [String] = []

  func validate() throws {
    guard [ids, tokens, count].filter({ $0 }).count <= 1 else {
      throw ValidationError("--ids, --tokens and --count: one of them is expected.")
    }
    guard tokenizer != "" else {
      throw ValidationError("--tokenizer is empty: a file is expected.")
    }
    guard threads ?? 1 >= 1 else {
      throw ValidationError("--threads is \(threads ?? 0): 1 or more is expected.")
    }
  }

  func run() throws {
    let tokenizer =
      if let tiktoken {
        try Tokenizer(tiktoken: tokenizer, pattern: tiktoken)
      } else {
        try Tokenizer(file: tokenizer)
      }
    var totals = Totals()
    for file in files.isEmpty ? [nil] : files.map(Optional.some) {
      var lines = try TextLines(file)
      while case let batch = try lines.nextBatch(), !batch.isEmpty {
        try write(batch, lines, tokenizer, &totals)
        totals.show(isLast: false)
      }
    }
    totals.show(isLast: true)
    if count {
      try Output.line(
        .object([
          ("texts", .integer(totals.texts)), ("bytes", .integer(totals.bytes)),
          ("tokens", .integer(totals.tokens)), ("replaced", .integer(totals.replacements)),
        ]))
    }
    if totals.replacements > 0 {
      StandardError.warn(
        "\(totals.replacements) times bytes were no UTF-8 and became U+FFFD")
    }
  }

  private func write(
    _ batch: [(line: Int, bytes: [UInt8])], _ lines: TextLines, _ tokenizer: Tokenizer,
    _ totals: inout Totals
  ) throws {
    let texts = try lines.texts(of: batch, field: field, replacements: &totals.replacements)
    totals.bytes += texts.reduce(0) { $0 + $1.utf8.count }
    totals.texts += texts.count
    var output = ""
    if tokens {
      for encoding in try tokenizer.encodeBatch(
        texts, addSpecialTokens: !noSpecialTokens, threads: threads)
      {
        totals.tokens += encoding.count
        output += JSON.array(encoding.tokens.map { .string($0) }).text + "\n"
      }
    } else {
      for ids in try tokenizer.ids(
        of: texts, addSpecialTokens: !noSpecialTokens, threads: threads)
      {
        totals.tokens += ids.count
        guard !count else { continue }
        output += "["
        for (index, id) in ids.enumerated() { output += index > 0 ? ",\(id)" : "\(id)" }
        output += "]\n"
      }
    }
    if !output.isEmpty { try Output.write(output) }
  }

  /// What has been done, told on standard error while somebody watches.
  private struct Totals {
    var texts = 0
    var bytes = 0
    var tokens = 0
    var replacements = 0
    private var line = WatchedLine()

    mutating func show(isLast: Bool) {
      let megabytes = Double(bytes) / 1e6
      line.show(isLast: isLast) { [texts, tokens] seconds in
        String(
          format: "%d texts, %.1f MB, %d tokens, %.1f MB/s", texts, megabytes, tokens,
          megabytes / seconds)
      }
    }
  }
}
