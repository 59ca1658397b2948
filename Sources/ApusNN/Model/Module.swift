// Models: plain structs whose stored parameters are found by their property path.

import ApusGraph
import ApusRuntime

/// A model or a part of one: a plain struct that stores parameters, buffers and other modules.
///
/// It is a *reference to weights in a value's clothes*: `let b = a` is the same weights under another name,
/// `a.copy()` are new ones.
///
///     struct Classifier: Module {
///       let hidden = Linear(784, 128)
///       let output = Linear(128, 10)
///       func callAsFunction(_ images: Tensor) -> Tensor { output(relu(hidden(images))) }
///     }
///
/// Parameters are named by their property path (`hidden.weight`; `blocks.3.query.weight` in an array),
/// which is how PyTorch and Hugging Face checkpoints name them.
public protocol Module {
  /// The parts among which parameters are looked for: all stored properties, unless a module says
  /// otherwise.
  var parts: [(name: String, value: Any)] { get }
}

extension Module {
  public var parts: [(name: String, value: Any)] {
    var mirror: Mirror? = Mirror(reflecting: self)
    var result: [(name: String, value: Any)] = []
    while let current = mirror {
      result =
        current.children.enumerated().map { ($0.element.label ?? "\($0.offset)", $0.element.value) }
        + result
      mirror = current.superclassMirror
    }
    return result
  }

  /// All parameters by their path, in the order of declaration. A parameter that stands in two places is
  /// listed once, under its first path.
  public var parameters: [(path: String, parameter: Parameter)] {
    ModelTree(self).states.compactMap { path, state in
      (state as? Parameter).map { (path, $0) }
    }
  }

  /// All buffers by their path, in the order of declaration.
  public var buffers: [(path: String, buffer: Buffer)] {
    ModelTree(self).states.compactMap { path, state in (state as? Buffer).map { (path, $0) } }
  }

  /// The number of trainable scalars; `Int.max` where it is beyond that.
  public var parameterCount: Int {
    total(of: parameters.lazy.filter(\.parameter.isTrainable).map(\.parameter.type.count))
  }

  /// Names all parameters and buffers by their paths and gives first values to those that have none. What
  /// has a value keeps it: weights that were loaded, or that a part learnt within another model.
  ///
  ///     try model.initialize(seed: 7)
  ///
  /// - `seed`: determines all values that are drawn; equal seeds and paths give equal values.
  /// - `reinitialize`: draws all values anew, whoever holds the parameters.
  /// - Throws: `invalidArgument` where a parameter stands in two places without having been tied, two have
  ///   one path, one is hidden where it cannot be found, or a module holds itself; `resource` where there is
  ///   no memory. Nothing is changed then.
  public func initialize(
    seed: UInt64 = 0, reinitialize: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) throws {
    let tree = ModelTree(self)
    try tree.check(at: sourceLocation(file, line))
    let states = tree.states
    var drawn: [(ModelState, NDArray)] = []
    for (path, state) in states where reinitialize || !state.isInitialized {
      drawn.append(
        (state, try state.initializer.makeArray(state.type, seed: seed, path: path)))
    }
    tree.name()
    // All of a model's cells under one lock, where that is possible.
    let lock = states.lazy.compactMap { $0.state.cell?.lock }.first ?? StateLock()
    for (state, array) in drawn { try state.give(array, lock: lock) }
  }

  /// Checks that all states have values and labels them with their paths in this model.
  ///
  /// - `location`: the user's line.
  /// - Throws: `missing` naming one that has none; as ``initialize(seed:reinitialize:file:line:)``.
  package func requireInitialized(at location: String? = nil) throws {
    let tree = ModelTree(self)
    try tree.check(at: location)
    tree.name()
    for (_, state) in tree.states where state.cell == nil {
      throw state.uninitialized.located(at: location ?? "")
    }
  }

  /// The module path of this module: that of its ``Scope``, or where one of its states was named, less the
  /// state's own path within this module. Nil for a module with neither.
  var boundPath: String? {
    for (_, value) in parts {
      if let scope = value as? Scope, let path = scope.path { return path }
    }
    for (relative, state) in ModelTree(self).states {
      guard let absolute = state.path else { continue }
      if absolute == relative { return "" }
      if absolute.hasSuffix("." + relative) {
        return String(absolute.dropLast(relative.count + 1))
      }
    }
    return nil
  }

  /// Records what `body` does under this module's path, so that graphs and errors name it. Library
  /// layers and everything that conforms to `Layer` do so by themselves.
  public func scoped<R>(
    file: StaticString = #fileID, line: UInt = #line, _ body: () throws -> R
  ) rethrows -> R {
    guard let trace = Trace.current else { return try body() }
    let path = boundPath
    return try trace.withCallLocation(sourceLocation(file, line)) {
      guard let path else { return try body() }
      let result = try trace.withScope(path: path, body)
      if trace.moduleResults != nil, let tensor = result as? Tensor {
        trace.moduleResults?.append((path, tensor))
      }
      return result
    }
  }
}

/// A module that maps one tensor to one tensor.
///
/// Conforming types write `forward`; users call the layer like a function.
public protocol Layer: Module {
  func forward(_ x: Tensor) -> Tensor
}

extension Layer {
  /// Applies the layer, recording its ops under its module path.
  public func callAsFunction(
    _ x: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) { forward(x) }
  }
}

/// A sum that stops at `Int.max`, as `Shape.count` does.
func total(of counts: some Sequence<Int>) -> Int {
  counts.reduce(0) { sum, count in
    let (next, overflows) = sum.addingReportingOverflow(count)
    return overflows ? .max : next
  }
}
