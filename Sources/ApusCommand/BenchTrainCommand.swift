// `apus bench train`: training steps, ours in a process of its own beside PyTorch's and JAX's.

import Apus
import ApusBenchmarks
import ApusRecipes
import ArgumentParser

struct BenchTrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Measure training steps.",
    discussion: """
      A step is forward, loss, backward and update on one batch of random data; a loss that does not fall \
      is an error. All recipes can be timed; PyTorch and JAX have those of the benchmarks.

      Recipes:
      \(RecipeList.summaries(recipes.benchmarks + recipes.trainable))
      """)

  @Argument(
    help: ArgumentHelp("The recipes. Default: those of the benchmarks.", valueName: "recipes"),
    transform: named)
  var workloads: [any Recipe] = []

  @Option(help: "Examples a step. Default: the recipe's own.")
  var batch: Int?

  @Flag(help: "Show where a step's time goes: each kernel call and its limit, instead of peers.")
  var profile = false

  @Flag(
    help:
      "Show how a step scales: measured as far as there are processors, predicted to 64 threads.")
  var scaling = false

  @Flag(help: "Show what a step costs over batches of 1 to 1024, on the plan's threads and on one.")
  var batches = false

  @Option(help: ArgumentHelp("With --batches: a picture of it.", valueName: "file.svg"))
  var svg: String?

  // How a side answers the harness; see Benchmarks/PeerProcess.swift.
  @Flag(help: .hidden)
  var serve = false

  @OptionGroup var options: BenchOptions

  @OptionGroup var memory: MemoryLimitOption

  func validate() throws {
    if let batch { _ = try usage { try CommonOption.batch.value("\(batch)") } }
    let shows = [(profile, "--profile"), (scaling, "--scaling"), (batches, "--batches")]
    for (isChosen, flag) in shows
    where isChosen && !options.measuring.chosenPeers.isEmpty {
      throw ValidationError("\(flag) shows our own step alone: leave out --peers.")
    }
    guard shows.filter(\.0).count <= 1 else {
      throw ValidationError(
        "--profile, --scaling and --batches show different things: one at a time.")
    }
    guard svg == nil || batches else { throw ValidationError("--svg: --batches is expected.") }
    guard svg != "" else { throw ValidationError("--svg is empty: a file is expected.") }
    guard !batches || batch == nil else {
      throw ValidationError("--batches goes through many: leave out --batch.")
    }
  }

  func run() throws {
    let workloads = self.workloads.isEmpty ? recipes.benchmarks : self.workloads
    if serve {
      try serveTraining(workloads[0], batch: batch, options: try settings(json: true))
    } else if profile {
      try profileTraining(workloads, batch: batch, options: try settings(json: options.json))
    } else if scaling {
      try scaleTraining(workloads, batch: batch, options: try settings(json: options.json))
    } else if batches {
      try sweepBatches(workloads, picture: svg, options: try settings(json: options.json))
    } else {
      try options.measure("Training steps") {
        try benchmarkTraining(workloads, batch: batch, options: limited($0))
      }
    }
  }

  private func settings(json: Bool) throws -> BenchmarkOptions {
    limited(try options.measuring.settings(json: json))
  }

  private func limited(_ options: BenchmarkOptions) -> BenchmarkOptions {
    var options = options
    options.memoryLimit = memory.memoryLimit?.bytes
    return options
  }

  @Sendable private static func named(_ name: String) throws -> any Recipe {
    try usage { try recipes.named(name) }
  }
}
