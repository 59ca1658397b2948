// Layers made of layers: functions, residual connections, branches.

import ApusGraph
import ApusOps

/// What comes in goes out: a place to put a layer later, or the shortcut of a block.
public struct Identity: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { x }
}

/// A function as a layer.
///
///     Sequential {
///       Linear(784, 128)
///       Lambda { $0 * sigmoid($0 * 1.702) }
///     }
///
/// It has no parameters: a model whose function uses some stores them itself.
public struct Lambda: Layer, Sendable {
  let scope = Scope()
  private let function: @Sendable (Tensor) -> Tensor

  public init(_ function: @escaping @Sendable (Tensor) -> Tensor) { self.function = function }

  public func forward(_ x: Tensor) -> Tensor { function(x) }
}

/// `x + f(x)`, f the layers one after the other: He et al. 2015, "Deep residual learning for image recognition".
///
///     Residual {
///       Linear(64, 64)
///       ReLU()
///     }
///     Residual(shortcut: Linear(64, 32)) { Linear(64, 32) }
///
/// Parameters are `0.weight`, …, and `shortcut.weight`. What is added has one shape (else `shapeMismatch`).
public struct Residual: Layer {
  public let layers: [any Layer]
  /// What x goes through on its way around; nil where it stays.
  public let shortcut: (any Layer)?
  let scope = Scope()

  public init(shortcut: (any Layer)? = nil, @LayerBuilder _ layers: () -> [any Layer]) {
    self.shortcut = shortcut
    self.layers = layers()
  }

  public var parts: [(name: String, value: Any)] {
    let own: [(name: String, value: Any)] = [("scope", scope)]
    return own + layers.enumerated().map { ("\($0.offset)", $0.element) }
      + (shortcut.map { [("shortcut", $0)] } ?? [])
  }

  public func forward(_ x: Tensor) -> Tensor {
    let change = layers.reduce(x) { $1($0) }
    let kept = shortcut.map { $0(x) } ?? x
    if change.isPoisoned || kept.isPoisoned || change.shape == kept.shape { return kept + change }
    return .poisoned(
      ApusError(
        .shapeMismatch, "Residual: \(kept.type) goes around and \(change.type) is added",
        expected: "one shape; give a shortcut that makes \(change.shape) of \(x.shape)"),
      like: change)
  }
}

/// The sum of what branches make of one input, each a layer.
///
///     Parallel {
///       Linear(64, 32)
///       Sequential { Linear(64, 8); ReLU(); Linear(8, 32) }
///     }
///
/// Parameters are `0.weight`, `1.0.weight`, … The results have one shape (else `shapeMismatch`).
public struct Parallel: Layer {
  public let branches: [any Layer]
  let scope = Scope()

  public init(@LayerBuilder _ branches: () -> [any Layer]) { self.branches = branches() }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope)] + branches.enumerated().map { ("\($0.offset)", $0.element) }
  }

  public func forward(_ x: Tensor) -> Tensor {
    let results = branches.map { $0(x) }
    guard let first = results.first else { return x }
    if let other = results.first(where: { !$0.isPoisoned && $0.shape != first.shape }),
      !first.isPoisoned
    {
      return .poisoned(
        ApusError(
          .shapeMismatch, "Parallel: branches give \(first.type) and \(other.type)",
          expected: "one shape, or Concat, which puts them beside each other"), like: first)
    }
    return results.dropFirst().reduce(first) { $0 + $1 }
  }
}

/// What branches make of one input, side by side: Szegedy et al. 2015, "Going Deeper with Convolutions".
///
///     Concat {
///       Conv2d(64, 16, 1)
///       Conv2d(64, 32, 3, padding: .same)
///     }                                     // f32[n,h,w,64] → f32[n,h,w,48]
///
/// Parameters are `0.weight`, `1.weight`, …
public struct Concat: Layer {
  public let branches: [any Layer]
  public let axis: Int
  let scope = Scope()

  /// - `axis`: along which they are put; the others have one extent each (else `shapeMismatch`).
  public init(axis: Int = -1, @LayerBuilder _ branches: () -> [any Layer]) {
    self.axis = axis
    self.branches = branches()
  }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope)] + branches.enumerated().map { ("\($0.offset)", $0.element) }
  }

  public func forward(_ x: Tensor) -> Tensor {
    branches.isEmpty ? x : concat(branches.map { $0(x) }, axis: axis)
  }
}
