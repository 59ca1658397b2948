// `apus bench processes`: steps of several processes beside those of one.

import Apus
import ApusBenchmarks
import ApusRecipes
import ArgumentParser

struct BenchProcessesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "processes", abstract: "Measure steps of several processes beside those of one.",
    discussion: """
      Run it under mpirun: mpirun -np 2 apus bench processes gpt mlp_large --threads 1. 'gain' is what all processes do \
      in a second, each with a batch of its own, by what the first does alone; both are measured in turns.
      """)

  @Argument(
    help: ArgumentHelp("The recipes. Default: gpt and mlp_large.", valueName: "recipes"),
    transform: { name in try usage { try recipes.named(name) } })
  var workloads: [any Recipe] = []

  @Option(help: "Examples a step of each process. Default: the recipe's own.")
  var batch: Int?

  @OptionGroup var measuring: MeasuringOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard measuring.chosenPeers.isEmpty else {
      throw ValidationError("Peers do not run this: it is our processes beside each other.")
    }
    if let batch { _ = try usage { try CommonOption.batch.value("\(batch)") } }
  }

  func run() throws {
    try ProcessLaunch.begin()
    guard let processes = ProcessLaunch.processes else {
      throw ApusError(
        .invalidArgument, "one process has nobody to be measured beside",
        expected: "mpirun -np 2 apus bench processes")
    }
    let chosen = try workloads.isEmpty ? ["gpt", "mlp_large"].map(recipes.named) : workloads
    try benchmarkProcesses(
      chosen, batch: batch, processes: processes, options: try measuring.settings(json: json))
  }
}
