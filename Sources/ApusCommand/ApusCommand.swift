import ArgumentParser

@main
struct ApusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apus", abstract: "Train neural networks on Linux CPUs.")
}
