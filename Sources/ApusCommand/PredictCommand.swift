// `apus predict`: what a run's model says of new examples.

import Apus
import ApusImages
import ApusRecipes
import ArgumentParser

enum PredictionFormat: String, ExpressibleByArgument, CaseIterable {
  case csv
  case jsonl
}

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Let the model of a run look at new examples.",
    discussion: """
      Reads the folder that 'apus train run.yaml' wrote, and examples: a table with the columns of the training \
      data (.csv), an archive with the array of the inputs (.npz), an array (.npy), the images of an IDX file, or \
      a picture (.png, .jpg, .ppm, .pgm), of the model's size unless it learnt from an image_folder. \
      A line an example goes to standard output, or to a file.
      """)

  @Argument(help: "The folder of a run.")
  var folder: String

  @Argument(help: "The file with the examples.")
  var examples: String

  @Option(
    name: [.short, .long],
    help: "A file of weights, or a checkpoint. Default: the run's weights.safetensors.")
  var weights: String?

  @Option(name: [.short, .long], help: "The file for the answers. Default: standard output.")
  var output: String?

  @Option(help: "csv, with a header, or jsonl, a JSON object a line. Default: csv.")
  var format: PredictionFormat = .csv

  @Flag(help: "The probability of every class.")
  var probabilities = false

  @OptionGroup var execution: ExecutionOptions

  func validate() throws {
    guard weights != "" else { throw ValidationError("--weights is empty: a file is expected.") }
    guard output != "" else { throw ValidationError("--output is empty: a file is expected.") }
  }

  func run() throws {
    let run = try ConfiguredRun(openedIn: folder)
    if let output { try AtomicFile.checkWritable(output) }
    let predictions = try predictions(run)
    let lines = format == .csv ? predictions.csv : predictions.jsonLines
    let text = lines.joined(separator: "\n") + "\n"
    if let output { try AtomicFile.write(text, to: output) } else { try Output.write(text) }
  }

  private func predictions(_ run: ConfiguredRun) throws -> RunPredictions {
    let compile = execution.compileOptions
    guard ImageFolder.suffixes.contains(where: examples.lowercased().hasSuffix) else {
      return try run.predictions(
        of: examples, weights: weights, hasAll: probabilities, compile: compile)
    }
    let picture = try ImageFile.read(
      examples, channels: run.pictureChannels() == 1 ? .gray : .rgb)
    return try run.predictions(
      ofPicture: picture, at: examples, weights: weights, hasAll: probabilities, compile: compile)
  }
}
