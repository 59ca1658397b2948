// `apus bench attention`: attention together with its gradients.

import Apus
import ApusBenchmarks
import ArgumentParser

extension AttentionVariant: ExpressibleByArgument {}

struct BenchAttentionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention", abstract: "Measure attention, forwards and backwards together.")

  @Argument(help: "full, causal, mask, dropout or causal-dropout. Default: all.")
  var variants: [AttentionVariant] = []

  @Option(
    name: .customLong("shape"),
    help: "\(AttentionShape.expectation); repeatable. Default: times from 128 to 4096.",
    transform: shape)
  var shapes: [AttentionShape] = []

  @OptionGroup var options: BenchOptions

  func run() throws {
    let variants = variants.isEmpty ? AttentionVariant.allCases : variants
    let precision = options.measuring.execution.compileOptions.precision
    let cases = (shapes.isEmpty ? AttentionShape.usual : shapes).flatMap { shape in
      variants.map { BenchmarkCase.attention(shape, $0, precision: precision) }
    }
    let title = "Attention and its gradients"
    try options.measure(title) { try runBenchmarks(cases, title: title, options: $0) }
  }

  @Sendable private static func shape(_ text: String) throws -> AttentionShape {
    do { return try AttentionShape(text) } catch {
      throw ValidationError("'\(text)' is not a shape: \(AttentionShape.expectation) is expected.")
    }
  }
}
