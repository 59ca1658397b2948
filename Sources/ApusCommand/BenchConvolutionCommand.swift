// `apus bench conv`: convolutions and their gradients.

import Apus
import ApusBenchmarks
import ArgumentParser

extension ConvolutionSet: ExpressibleByArgument {}
extension ConvolutionPass: ExpressibleByArgument {}

struct BenchConvolutionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conv", abstract: "Measure convolutions and their gradients.")

  @Option(
    name: .customLong("layer"),
    help: "\(ConvolutionLayer.expectation); repeatable. Default: the layers of a network.",
    transform: layer)
  var layers: [ConvolutionLayer] = []

  @Option(
    name: .customLong("set"),
    help: "A network's layers, repeatable: resnet50 (the default), mobilenetv2, vgg16 or unet.")
  var sets: [ConvolutionSet] = []

  @Option(
    name: .customLong("pass"),
    help: "forward, data (the image's gradient) or weights, repeatable. Default: all.")
  var passes: [ConvolutionPass] = []

  @Option(help: "Images in a batch.")
  var batch = 16

  @OptionGroup var options: BenchOptions

  func validate() throws {
    guard (1...4096).contains(batch) else {
      throw ValidationError("--batch is \(batch): a number from 1 to 4096 is expected.")
    }
  }

  func run() throws {
    let sets = sets.isEmpty && layers.isEmpty ? [.resnet50] : sets
    let passes = passes.isEmpty ? ConvolutionPass.allCases : passes
    let precision = options.measuring.execution.compileOptions.precision
    let cases = (sets.flatMap(\.layers) + layers).flatMap { layer in
      passes.map {
        BenchmarkCase.convolution(layer, $0, batch: batch, precision: precision)
      }
    }
    let title = "Convolutions of \(batch) images"
    try options.measure(title) { try runBenchmarks(cases, title: title, options: $0) }
  }

  @Sendable private static func layer(_ text: String) throws -> ConvolutionLayer {
    do { return try ConvolutionLayer(text) } catch {
      throw ValidationError(
        "'\(text)' is not a layer: \(ConvolutionLayer.expectation) is expected.")
    }
  }
}
