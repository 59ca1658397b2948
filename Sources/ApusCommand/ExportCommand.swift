// `apus export`: a run's model for use elsewhere.

import Apus
import ApusRecipes
import ArgumentParser

extension ExportFormat: ExpressibleByArgument {}

/// Where channels lie, as the command line says it.
enum ExportLayout: String, ExpressibleByArgument, CaseIterable {
  case channelsLast = "channels-last"
  case channelsFirst = "channels-first"

  var layout: WeightLayout { self == .channelsFirst ? .channelsFirst : .channelsLast }
}

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write the model of a run for use elsewhere.",
    discussion: """
      Writes a folder with the weights, by PyTorch's names and in a format that others read; model.json, which \
      says what goes in, what comes out, which layers there are and the shape of each weight; and config.json, of \
      which 'apus train' makes the run again.
      """)

  @Argument(help: "The folder of a run.")
  var folder: String

  @Option(name: [.short, .long], help: "The folder for the files.")
  var output: String

  @Option(help: "safetensors or npz. Default: safetensors.")
  var format: ExportFormat = .safetensors

  @Option(help: "Weights of convolutions: channels-last, or channels-first as in PyTorch.")
  var layout: ExportLayout = .channelsLast

  @Option(
    name: [.short, .long],
    help: "A file of weights, or a checkpoint. Default: the run's weights.safetensors.")
  var weights: String?

  @Flag(help: "One JSON object on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard weights != "" else { throw ValidationError("--weights is empty: a file is expected.") }
    guard output != "" else { throw ValidationError("--output is empty: a folder is expected.") }
  }

  func run() throws {
    let files = try ConfiguredRun(openedIn: folder).export(
      to: output, format, layout: layout.layout, weights: weights)
    if json {
      let all = JSON.array(files.map { .string($0) })
      return try Output.line(.object([("event", "export"), ("files", all)]))
    }
    for file in files { try Output.line(file) }
  }
}
