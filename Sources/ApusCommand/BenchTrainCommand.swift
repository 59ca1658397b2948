// `apus bench train`: training steps, ours in a process of its own beside PyTorch's and JAX's.

import Apus
import ApusBenchmarks
import ArgumentParser

struct BenchTrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Measure training steps.",
    discussion: """
      Workloads: \(TrainingWorkload.all.map(\.name).joined(separator: ", ")). A step is forward, loss, \
      backward and update on one batch of random data; a loss that does not fall is an error.
      """)

  @Argument(help: "The workloads. Default: all.", transform: named)
  var workloads: [TrainingWorkload] = []

  @Option(help: "Examples a step. Default: the workload's own.")
  var batch: Int?

  @Flag(help: "Show where a step's time goes: each kernel call and its limit, instead of peers.")
  var profile = false

  // How a side answers the harness; see Benchmarks/PeerProcess.swift.
  @Flag(help: .hidden)
  var serve = false

  @OptionGroup var options: BenchOptions

  func validate() throws {
    if let batch, batch < 1 {
      throw ValidationError("--batch is \(batch): at least 1 is expected.")
    }
    if profile && !options.measuring.chosenPeers.isEmpty {
      throw ValidationError("--profile shows our own step alone: leave out --peers.")
    }
  }

  func run() throws {
    let workloads = self.workloads.isEmpty ? TrainingWorkload.all : self.workloads
    if serve {
      try serveTraining(
        workloads[0], batch: batch, options: try options.measuring.settings(json: true))
    } else if profile {
      try profileTraining(
        workloads, batch: batch, options: try options.measuring.settings(json: options.json))
    } else {
      try options.measure("Training steps") {
        try benchmarkTraining(workloads, batch: batch, options: $0)
      }
    }
  }

  @Sendable private static func named(_ name: String) throws -> TrainingWorkload {
    do { return try TrainingWorkload.named(name) } catch let error as ApusError {
      throw ValidationError("\(error.what); \(error.expected ?? "") are there.")
    }
  }
}
