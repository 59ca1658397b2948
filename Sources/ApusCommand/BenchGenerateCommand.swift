// `apus bench generate`: how fast a GPT writes.

import Apus
import ApusBenchmarks
import ArgumentParser

struct BenchGenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Measure how fast a GPT writes tokens with a cache.",
    discussion: """
      The benchmark's gpt writes the likeliest characters from one on. With --peers PyTorch's eager loop does the same \
      with a cache that is written in place, in the Python that APUS_PEERS_PYTHON names. The last columns are what a \
      token takes at the beginning and at the end.
      """)

  @Option(help: "Texts that are written side by side.")
  var rows = 1

  @Option(help: "Tokens that follow the first.")
  var tokens = 255

  @OptionGroup var measuring: MeasuringOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard measuring.peer.isEmpty else {
      throw ValidationError("--peer: there is one peer here, and --peers runs it.")
    }
    guard (1...256).contains(rows) else {
      throw ValidationError("--rows is \(rows): 1 to 256 is expected.")
    }
    guard (4...255).contains(tokens) else {
      throw ValidationError("--tokens is \(tokens): 4 to 255 is expected.")
    }
  }

  func run() throws {
    _ = try benchmarkGeneration(
      rows: rows, tokens: tokens, peer: measuring.peers, options: try measuring.settings(json: json)
    )
  }
}
