// Layers one after the other.

import ApusGraph

/// Layers applied in order, named by their place (`0.weight`, `2.weight`) as in PyTorch.
///
/// It is not `Sendable`, since it holds layers of any type. What is to travel between tasks is a struct of
/// layers, or a ``Stack``.
///
///     let network = Sequential {
///       Linear(784, 128)
///       ReLU()
///       Linear(128, 10)
///     }
public struct Sequential: Layer {
  public let layers: [any Layer]
  let scope = Scope()

  public init(_ layers: [any Layer]) { self.layers = layers }
  public init(@LayerBuilder _ layers: () -> [any Layer]) { self.layers = layers() }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope)] + layers.enumerated().map { ("\($0.offset)", $0.element) }
  }

  public var count: Int { layers.count }

  /// The layer at that place, counted from 0, if there is one.
  ///
  ///     network[0, as: Linear.self]?.weight
  public subscript(index: Int) -> (any Layer)? {
    layers.indices.contains(index) ? layers[index] : nil
  }

  /// The layer at that place, if there is one of that type.
  public subscript<L: Layer>(index: Int, as _: L.Type) -> L? { self[index] as? L }

  public func forward(_ x: Tensor) -> Tensor {
    layers.reduce(x) { $1($0) }
  }
}

/// Layers of one type one after the other, each with weights of its own.
///
///     let body = Stack(12) { Block(384) }          // body.0.…, body.1.…, …
///     body[3].attention
///
/// (`Array(repeating: Block(384), count: 12)` would hold one block twelve times, which is an error.)
public struct Stack<Element: Layer>: Layer {
  public let layers: [Element]
  let scope = Scope()
  /// What is wrong with the number of layers, for whoever uses them to throw.
  private let fault: ApusError?

  /// - `count`: how often `make` is called, up to 65,536 times. Another number makes no layers, and
  ///   `initialize`, or what records the stack, throws `invalidArgument`.
  public init(_ count: Int, _ make: () throws -> Element) rethrows {
    let range = 0...65_536
    fault =
      range.contains(count)
      ? nil
      : ApusError(
        .invalidArgument, "a stack of \(count) layers",
        expected: "\(range.lowerBound) to \(range.upperBound)")
    layers = try (0..<(fault == nil ? count : 0)).map { _ in try make() }
  }

  public var parts: [(name: String, value: Any)] {
    let all = layers.enumerated().map { (name: "\($0.offset)", value: $0.element as Any) }
    return [("scope", scope)] + all + (fault.map { [("count", $0)] } ?? [])
  }

  public var count: Int { layers.count }
  /// The layer at that place, counted from 0.
  ///
  /// - Precondition: `index` is in `0..<count`, as with an array.
  public subscript(index: Int) -> Element { layers[index] }

  public func forward(_ x: Tensor) -> Tensor {
    if let fault { x.trace.record(fault) }
    return layers.reduce(x) { $1($0) }
  }
}

extension Stack: Sendable where Element: Sendable {}

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
