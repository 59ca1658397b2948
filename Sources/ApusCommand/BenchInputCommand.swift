// `apus bench input`: what preparing batches costs a training step.

import Apus
import ApusBenchmarks
import ArgumentParser

struct BenchInputCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "input", abstract: "Measure what preparing batches costs a step of mlp_small.",
    discussion: """
      'ready' steps on one batch again and again; 'prepared ahead' on shuffled images out of 60000, made by a \
      thread as trainers make them; 'on demand' by the step's own thread. The last column is what a step takes more, \
      as a part of a step whose batch is ready.
      """)

  @OptionGroup var measuring: MeasuringOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard measuring.chosenPeers.isEmpty else {
      throw ValidationError("Peers do not run this: it is our way of preparing batches.")
    }
  }

  func run() throws { _ = try benchmarkInput(options: try measuring.settings(json: json)) }
}
