// Layers one after the other within the models of this folder.

import ApusGraph

/// What `Sequential` is to users, of layers that may travel between tasks, so that the model may too. Parameters
/// are named by the layer's place, as torchvision names them.
struct Chain: Layer, Sendable {
  private(set) var layers: [any Layer & Sendable]
  let scope = Scope()

  init(_ layers: [any Layer & Sendable]) { self.layers = layers }

  var parts: [(name: String, value: Any)] {
    [("scope", scope)] + layers.enumerated().map { ("\($0.offset)", $0.element) }
  }

  func forward(_ x: Tensor) -> Tensor { layers.reduce(x) { $1($0) } }

  /// The last layer of one that ends with a linear one.
  var head: Linear {
    get { layers.last as? Linear ?? Linear(0, 0) }
    set { layers[layers.count - 1] = newValue }
  }

  /// All layers but the last.
  func body(_ x: Tensor) -> Tensor { layers.dropLast().reduce(x) { $1($0) } }
}
