// The multilayer perceptron of the first recipes.

import Apus

/// Linear layers with a ReLU between them: the model of every first lesson.
///
///     Perceptron(784, hidden: [("hidden", 128)], classes: 10)   // parameters hidden.weight … output.bias
struct Perceptron: Module {
  private let names: [String]
  private let layers: [Linear]

  /// - `hidden`: names and widths of the layers before the output.
  init(_ features: Int, hidden: [(name: String, units: Int)], classes: Int) {
    let widths = [features] + hidden.map(\.units) + [classes]
    names = hidden.map(\.name) + ["output"]
    layers = zip(widths, widths.dropFirst()).map { Linear($0, $1) }
  }

  var parts: [(name: String, value: Any)] { zip(names, layers).map { ($0, $1) } }

  /// - `input`: any axes after the batch's; they are taken as one.
  func callAsFunction(_ input: Tensor) -> Tensor {
    layers.dropFirst().reduce(layers[0](input.flattened(from: 1))) { $1(relu($0)) }
  }
}
