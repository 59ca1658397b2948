// `apus bench tokenizer`: how fast texts become tokens.

import Apus
import ApusBenchmarks
import ArgumentParser

struct BenchTokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer", abstract: "Measure how fast texts become tokens.",
    discussion: """
      With --peers the Python package tokenizers does the same, with as many threads, in the Python that \
      APUS_PEERS_PYTHON names.
      """)

  @Option(name: [.short, .long], help: ArgumentHelp("A tokenizer.json.", valueName: "file"))
  var tokenizer: String

  @Option(help: ArgumentHelp("A file of texts, a line each.", valueName: "file"))
  var texts: String

  @OptionGroup var measuring: MeasuringOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard measuring.peer.isEmpty else {
      throw ValidationError("--peer: there is one peer here, and --peers runs it.")
    }
  }

  func run() throws {
    _ = try benchmarkTokenizer(
      tokenizer, texts: texts, peer: measuring.peers, options: try measuring.settings(json: json))
  }
}
