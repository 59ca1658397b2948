// `apus bench rnn`: recurrent layers together with their gradients.

import Apus
import ApusBenchmarks
import ArgumentParser

extension RecurrentVariant: ExpressibleByArgument {}

struct BenchRecurrentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rnn", abstract: "Measure recurrent layers, forwards and backwards together.")

  @Argument(
    help: """
      lstm, gru or rnn, and each with '-lengths': sequences of 1 step to all, evenly, which PyTorch packs. \
      Default: all.
      """)
  var variants: [RecurrentVariant] = []

  @Option(
    name: .customLong("shape"),
    help: "\(SequenceShape.expectation); repeatable. Default: small and large layers of 128 steps.",
    transform: shape)
  var shapes: [SequenceShape] = []

  @OptionGroup var options: BenchOptions

  func run() throws {
    let variants = variants.isEmpty ? RecurrentVariant.allCases : variants
    let cases = (shapes.isEmpty ? SequenceShape.usual : shapes).flatMap { shape in
      variants.map { BenchmarkCase.recurrent(shape, $0) }
    }
    let title = "Recurrent layers and their gradients"
    try options.measure(title) { try runBenchmarks(cases, title: title, options: $0) }
  }

  @Sendable private static func shape(_ text: String) throws -> SequenceShape {
    do { return try SequenceShape(text) } catch {
      throw ValidationError("'\(text)' is not a shape: \(SequenceShape.expectation) is expected.")
    }
  }
}
