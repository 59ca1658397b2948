// Models: plain structs whose stored parameters are found by their property path.

import ApusGraph
import ApusRuntime

/// A model or a part of one: a plain struct that stores parameters and other modules.
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
    var seen = Set<ObjectIdentifier>()
    return allParameters.filter { seen.insert(ObjectIdentifier($0.parameter)).inserted }
  }

  private var allParameters: [(path: String, parameter: Parameter)] {
    var result: [(String, Parameter)] = []
    collect(parts, "", &result)
    return result
  }

  private func collect(
    _ parts: [(name: String, value: Any)], _ prefix: String, _ result: inout [(String, Parameter)]
  ) {
    for (name, value) in parts {
      let path = prefix.isEmpty ? name : "\(prefix).\(name)"
      if let parameter = value as? Parameter {
        result.append((path, parameter))
      } else if let module = value as? any Module {
        collect(module.parts, path, &result)
      } else {
        collect(container(value), path, &result)
      }
    }
  }

  /// The elements of arrays, optionals, tuples and dictionaries, which may hold modules.
  private func container(_ value: Any) -> [(name: String, value: Any)] {
    let mirror = Mirror(reflecting: value)
    switch mirror.displayStyle {
    case .collection, .tuple:
      return mirror.children.enumerated().map { index, child in
        let label = child.label.map { $0.hasPrefix(".") ? String($0.dropFirst()) : $0 }
        return (label ?? "\(index)", child.value)
      }
    case .optional:
      // The wrapped value keeps the property's own name.
      guard let wrapped = mirror.children.first?.value else { return [] }
      if let module = wrapped as? any Module { return module.parts }
      return container(wrapped)
    case .dictionary:
      return mirror.children.compactMap { child in
        let pair = Array(Mirror(reflecting: child.value).children)
        return pair.count == 2 ? ("\(pair[0].value)", pair[1].value) : nil
      }.sorted { $0.name < $1.name }
    default: return []
    }
  }

  /// The number of trainable scalars.
  public var parameterCount: Int {
    parameters.reduce(0) { $0 + ($1.parameter.isTrainable ? $1.parameter.type.count : 0) }
  }

  /// Names all parameters and gives them their first values in `store`.
  ///
  /// - `seed`: determines all values; equal seeds give equal models.
  /// - Throws: `invalidArgument` where a parameter already belongs to another model under another name.
  public func initialize(seed: UInt64 = 0, in store: StateStore = StateStore()) throws {
    for (path, parameter) in parameters {
      parameter.bind(path: path, store: store)
      try store.set(
        path, parameter.initializer.makeArray(parameter.type, seed: seed, path: path))
    }
  }

  /// Where the values of the parameters live; a new store for a model that has none.
  ///
  /// - Throws: `missing` before the model is initialised, `invalidArgument` where its parts were
  ///   initialised in different stores.
  public func states() throws -> StateStore {
    let all = parameters
    guard let first = all.first else { return StateStore() }
    let store = try first.parameter.home()
    for (path, parameter) in all where try parameter.home() !== store {
      throw ApusError(
        .invalidArgument, "parameters '\(first.path)' and '\(path)' live in different stores",
        expected: "one initialize(seed:in:) of the whole model")
    }
    return store
  }

  /// The module path of this module within the bound model: where one of its parameters was bound, less
  /// the parameter's own path within this module. Nil for a module without parameters.
  var boundPath: String? {
    for (relative, parameter) in parameters {
      guard let absolute = parameter.path else { continue }
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
      return try trace.withScope(path: path, body)
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
