// Layers one after the other.

import ApusGraph

/// Layers applied in order, named by their place (`0.weight`, `2.weight`) as in PyTorch.
///
///     let network = Sequential {
///       Linear(784, 128)
///       ReLU()
///       Linear(128, 10)
///     }
public struct Sequential: Layer {
  public let layers: [any Layer]

  public init(_ layers: [any Layer]) { self.layers = layers }
  public init(@LayerBuilder _ layers: () -> [any Layer]) { self.layers = layers() }

  public var parts: [(name: String, value: Any)] {
    layers.enumerated().map { ("\($0.offset)", $0.element) }
  }

  public func forward(_ x: Tensor) -> Tensor {
    layers.reduce(x) { $1($0) }
  }
}

/// Collects the layers of a `Sequential`; `if` and `for` work within it.
@resultBuilder public enum LayerBuilder {
  public static func buildExpression(_ layer: some Layer) -> [any Layer] { [layer] }
  public static func buildExpression(_ layers: [any Layer]) -> [any Layer] { layers }
  public static func buildBlock(_ layers: [any Layer]...) -> [any Layer] { layers.flatMap { $0 } }
  public static func buildOptional(_ layers: [any Layer]?) -> [any Layer] { layers ?? [] }
  public static func buildEither(first layers: [any Layer]) -> [any Layer] { layers }
  public static func buildEither(second layers: [any Layer]) -> [any Layer] { layers }
  public static func buildArray(_ layers: [[any Layer]]) -> [any Layer] { layers.flatMap { $0 } }
}
