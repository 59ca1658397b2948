// What a model holds, found by reflection: states and scopes by their paths, and what is wrong with them.

import ApusGraph

/// A walk through a model's stored properties.
package struct ModelTree {
  /// Every place that holds a state, in the order of declaration; a tied one has several.
  package private(set) var places: [(path: String, state: ModelState)] = []
  package private(set) var scopes: [(path: String, scope: Scope)] = []
  /// Every part that is a module, the model itself first, under an empty path.
  package private(set) var modules: [(path: String, module: any Module)] = []
  private var faults: [ApusError] = []
  /// The class modules around the one being looked at.
  private var open: [ObjectIdentifier] = []

  package init(_ module: any Module) { walk(module, "") }

  /// The states, each once, under its first path.
  package var states: [(path: String, state: ModelState)] {
    var seen = Set<ObjectIdentifier>()
    return places.filter { seen.insert(ObjectIdentifier($0.state)).inserted }
  }

  /// - Throws: what a module's initialiser found wrong; `invalidArgument` where a state stands in two places without having been tied, two states
  ///   have one path, parameters are hidden where reflection cannot find them, or a module holds itself.
  ///
  /// - `location`: the user's line, where it is known.
  package func check(at location: String? = nil) throws {
    if let mistake { throw mistake.located(at: location ?? "") }
  }

  /// The first thing that is wrong.
  private var mistake: ApusError? {
    if let fault = faults.first { return fault }
    var paths: [ObjectIdentifier: String] = [:]
    var owners: [String: ModelState] = [:]
    for (path, state) in places {
      if let first = paths[ObjectIdentifier(state)], !state.isTied {
        return ApusError(
          .invalidArgument, "'\(first)' and '\(path)' are one \(state.kind)",
          expected:
            "layers of their own (Stack(3) { Linear(64, 64) }, copy()), or weight.tied() where "
            + "they are to share it")
      }
      if let other = owners[path], other !== state {
        return ApusError(
          .invalidArgument, "two different states are named '\(path)'",
          expected: "property names and dictionary keys that give each a path of its own")
      }
      paths[ObjectIdentifier(state)] = paths[ObjectIdentifier(state)] ?? path
      owners[path] = state
    }
    return nil
  }

  /// Labels states and scopes with their paths.
  package func name() {
    for (path, state) in states { state.named(path) }
    for (path, scope) in scopes { scope.path = path }
  }

  // MARK: The walk

  private mutating func walk(_ module: any Module, _ path: String) {
    modules.append((path, module))
    let identity =
      type(of: module) is AnyClass ? ObjectIdentifier(module as AnyObject) : nil
    if let identity {
      guard !open.contains(identity) else {
        faults.append(
          ApusError(
            .invalidArgument, "module '\(path)' is one that it stands in",
            expected: "modules that do not hold themselves; a parent as a weak or computed property"
          ))
        return
      }
      open.append(identity)
    }
    for (name, value) in module.parts { visit(value, join(path, name)) }
    if identity != nil { open.removeLast() }
  }

  private func join(_ path: String, _ name: String) -> String {
    let lazy = "$__lazy_storage_$_"
    let name = name.hasPrefix(lazy) ? String(name.dropFirst(lazy.count)) : name
    return path.isEmpty ? name : "\(path).\(name)"
  }

  private mutating func visit(_ value: Any, _ path: String) {
    if let state = value as? ModelState {
      places.append((path, state))
    } else if let scope = value as? Scope {
      // The path of the module that holds it.
      scopes.append((path.split(separator: ".").dropLast().joined(separator: "."), scope))
    } else if let module = value as? any Module {
      walk(module, path)
    } else if let fault = value as? ApusError {
      // What a module's initialiser was given and could not throw.
      faults.append(fault.located(at: path))
    } else if (value as? any PlainElements)?.arePlain != true {
      visitContainer(value, path)
    }
  }

  /// Elements of arrays, optionals, tuples and dictionaries.
  private mutating func visitContainer(_ value: Any, _ path: String) {
    let mirror = Mirror(reflecting: value)
    switch mirror.displayStyle {
    case .collection, .tuple, .set:
      for (index, child) in mirror.children.enumerated() {
        let label = child.label.map { $0.hasPrefix(".") ? String($0.dropFirst()) : $0 }
        visit(child.value, join(path, label ?? "\(index)"))
      }
    case .optional:
      // The wrapped value keeps the property's own name.
      if let wrapped = mirror.children.first?.value { visit(wrapped, path) }
    case .dictionary:
      let pairs = mirror.children.compactMap { child -> (name: String, value: Any)? in
        let pair = Array(Mirror(reflecting: child.value).children)
        return pair.count == 2 ? ("\(pair[0].value)", pair[1].value) : nil
      }
      for (name, value) in pairs.sorted(by: { $0.name < $1.name }) {
        visit(value, join(path, name))
      }
    default:
      if let hidden = Self.hidden(in: mirror, depth: 3) {
        faults.append(
          ApusError(
            .invalidArgument,
            "'\(path)' is a \(type(of: value)), in which \(hidden) would not be found",
            expected:
              "a type that conforms to Module, or an array, optional, tuple or dictionary of them"
          ))
      }
    }
  }

  /// What of a model stands in a value that is none: "a parameter" or "a module", if any.
  private static func hidden(in mirror: Mirror, depth: Int) -> String? {
    guard depth > 0 else { return nil }
    for child in mirror.children {
      if let state = child.value as? ModelState { return "a \(state.kind)" }
      if child.value is any Module { return "a module" }
      if (child.value as? any PlainElements)?.arePlain == true { continue }
      if let found = hidden(in: Mirror(reflecting: child.value), depth: depth - 1) { return found }
    }
    return nil
  }
}

/// Arrays whose elements hold no references: there is no need to look at each of a million numbers.
private protocol PlainElements {
  var arePlain: Bool { get }
}

extension Array: PlainElements {
  fileprivate var arePlain: Bool { _isPOD(Element.self) }
}

extension NDArray: PlainElements {
  fileprivate var arePlain: Bool { true }
}

extension String: PlainElements {
  fileprivate var arePlain: Bool { true }
}
