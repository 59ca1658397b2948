// `--run` and what goes with it: options of commands that train.

import Apus
import ApusRecipes
import ArgumentParser

/// Which records of a run are kept.
struct RecordOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Keep all of the run in this folder: configuration, curves (JSON lines, TensorBoard), checkpoints, weights, and "
        + "a report as a page.", valueName: "folder"))
  var run: String?

  @Option(
    name: .customLong("record-every"),
    help: ArgumentHelp(
      "Steps between two points of a curve of steps. Default: 10.", valueName: "steps")
  )
  var recordEvery: Int?

  @Option(
    name: .customLong("histograms-every"),
    help: ArgumentHelp(
      "Epochs between two histograms of each parameter, for TensorBoard. Default: none.",
      valueName: "epochs"))
  var histogramsEvery: Int?

  func validate() throws {
    guard run != "" else { throw ValidationError("--run is empty: a folder is expected.") }
    for (name, number) in [
      ("--record-every", recordEvery), ("--histograms-every", histogramsEvery),
    ] {
      guard let number else { continue }
      guard run != nil else {
        throw ValidationError("\(name) without --run: a folder for records is expected.")
      }
      guard (1...1_000_000_000).contains(number) else {
        throw ValidationError("\(name) is \(number): a number from 1 to 1000000000 is expected.")
      }
    }
  }

  /// What notes the run; nil where nobody wants that.
  ///
  /// - Throws: as the environment's threads and level.
  func recording(
    of recipe: any Recipe, _ options: RecipeOptions, compile: CompileOptions,
    _ execution: ExecutionOptions
  ) throws -> RunRecording? {
    try run.map {
      try RunRecording(
        $0, recipe, options, compile: compile, threads: execution.threadCount,
        level: execution.level.isa, every: recordEvery ?? 10, histogramsEvery: histogramsEvery)
    }
  }
}
