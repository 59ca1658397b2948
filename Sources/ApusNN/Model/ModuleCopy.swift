// Models with weights of their own: copies, and values taken over from another model.
//
// A module is a plain struct of `let` properties that refer to its states. A copy is the same struct with
// other references in their places: the fields are found by the standard library's reflection, which knows
// their offsets, and what came out is looked through again before anybody gets it.

import ApusGraph
import ApusOps
import ApusRuntime
@_spi(Reflection) import Swift

extension Module {
  /// A module of the same structure whose parameters and buffers are its own, with equal values: what a
  /// target network, an ensemble or a snapshot needs. (`let target = online` is the *same* network.)
  ///
  ///     let target = try online.copy()
  ///
  /// Weights that are tied in the model are tied in the copy. What was frozen is frozen; what has no value yet
  /// has none in the copy.
  ///
  /// - Throws: `unsupported` where a part with parameters is a class, which only its own code can copy;
  ///   `resource` where the system gives no memory; and as ``initialize(seed:reinitialize:file:line:)`` for a model
  ///   that is not well formed.
  public func copy(file: StaticString = #fileID, line: UInt = #line) throws -> Self {
    let tree = ModelTree(self)
    try tree.check(at: sourceLocation(file, line))
    var copier = ModuleCopier()
    let copy = try copier.copied(self, at: "")
    let other = ModelTree(copy)
    let known = Set(tree.places.map { ObjectIdentifier($0.state) })
    guard other.places.map(\.path) == tree.places.map(\.path) else {
      throw ApusError(
        .unsupported, "\(Self.self) cannot be copied", expected: "structs of stored properties")
    }
    if let shared = other.places.first(where: { known.contains(ObjectIdentifier($0.state)) }) {
      throw ApusError(
        .unsupported, "'\(shared.path)' cannot be copied: it stands in a class, or is computed",
        expected: "structs of stored properties")
    }
    return copy
  }

  /// Takes over the values of another model's parameters and buffers, by their paths.
  ///
  ///     try target.copyParameters(from: online)
  ///
  /// - Throws: `missing` or `shapeMismatch` where the two are not of one structure, `invalidArgument` where
  ///   they share a parameter, `missing` where the other model has no values. Nothing is changed then.
  public func copyParameters(from other: some Module) throws {
    let pairs = try paired(with: other, "copyParameters(from:)")
    let cells = try pairs.map { ($0.own, try $0.other.home()) }
    let lock = cells.first?.1.lock ?? StateLock()
    for (own, cell) in cells {
      if let mine = own.cell {
        try mine.copy(from: cell)
      } else {
        try own.give(cell.array, lock: lock)
      }
    }
  }

  /// Moves the parameters towards another model's, within the graph that is being recorded:
  /// `p ← p + rate·(q - p)`. Polyak's average, the soft update of a target network, an average of weights.
  /// Buffers take over the other's values.
  ///
  ///     let step = try TrainingStep { step, batch in
  ///       step.minimize(loss(online, target, batch), over: online, with: Adam())
  ///       target.follow(online, rate: 0.005)
  ///     }
  ///
  /// What `other` has been updated to in this graph counts; where the step only keeps the gradients of its batch,
  /// nothing moves. A mistake (another structure, shared parameters, a rate outside 0…1) is recorded.
  public func follow(
    _ other: some Module, rate: Double, file: StaticString = #fileID, line: UInt = #line
  ) {
    guard let trace = Trace.current else { return }
    do {
      guard (0...1).contains(rate) else {
        throw ApusError(.invalidArgument, "follow: the rate is \(rate)", expected: "0 to 1")
      }
      for (own, other) in try paired(with: other, "follow") {
        let (mine, theirs) = (own.tensor, other.tensor)
        guard !mine.isPoisoned, !theirs.isPoisoned, let cell = own.cell else { return }
        guard trace.updatesParameters else { continue }
        let isCopied = own is Buffer || rate == 1
        let value = (isCopied ? theirs : mine + (theirs - mine) * rate).stopGradient()
        if own is Buffer { trace.assign(statistic: cell, value) } else { trace.assign(cell, value) }
      }
    } catch {
      trace.record(
        asApusError(error),
        location: sourceLocation(file, line))
    }
  }

  /// The states of two models that are to be of one structure.
  private func paired(
    with other: some Module, _ verb: String
  ) throws -> [(own: ModelState, other: ModelState)] {
    let (mine, theirs) = (ModelTree(self), ModelTree(other))
    try mine.check()
    try theirs.check()
    let byPath = Dictionary(
      theirs.places.map { ($0.path, $0.state) }, uniquingKeysWith: { a, _ in a })
    let pairs = try mine.states.map { path, state in
      guard let match = byPath[path] else {
        throw ApusError(
          .missing, "\(verb): the other model has no '\(path)'",
          expected: "a model of one structure")
      }
      guard match.type == state.type else {
        throw ApusError(
          .shapeMismatch, "\(verb): '\(path)' is \(match.type) in the other model",
          expected: "\(state.type)")
      }
      guard match !== state else {
        throw ApusError(
          .invalidArgument, "\(verb): both models have the same '\(path)'",
          expected: "two models: let target = try online.copy()")
      }
      return (own: state, other: match)
    }
    let known = Set(mine.places.map(\.path))
    if let surplus = theirs.states.first(where: { !known.contains($0.path) }) {
      throw ApusError(
        .missing, "\(verb): this model has no '\(surplus.path)'",
        expected: "models of one structure")
    }
    return pairs
  }

  /// This module, whose parameters other places of the model may hold as well; see ``Parameter/tied()``.
  public func tied() -> Self {
    for (_, state) in ModelTree(self).states { state.noteTied() }
    return self
  }
}

/// A struct that is no module and yet holds states of one, which lists them among its own ``Module/parts``.
protocol HoldsStates {}

/// Copies values with the states in them, each state once.
struct ModuleCopier {
  private var states: [ObjectIdentifier: ModelState] = [:]
  private var scopes: [ObjectIdentifier: Scope] = [:]
  private let lock = StateLock()

  mutating func copied<T>(_ value: T, at path: String) throws -> T {
    if _isPOD(T.self) { return value }
    if let state = value as? ModelState { return try copied(state) as! T }
    if let scope = value as? Scope { return copied(scope) as! T }
    if let slot = value as? LowRankSlot { return try copied(slot) as! T }
    if let container = T.self as? any CopiedByElements.Type {
      return try copyElements(value, of: container, at: path)
    }
    // (In generic code the type of an existential is the existential's own, unless it is seen as Any.)
    if type(of: value as Any) != T.self {
      // An existential, or a class in its base class's clothes.
      guard let module = value as? any Module else { return value }
      func opened<M: Module>(_ inner: M) throws -> Any { try copied(inner, at: path) }
      return try opened(module) as! T
    }
    if T.self is AnyClass {
      guard let module = value as? any Module, !ModelTree(module).places.isEmpty else {
        return value
      }
      throw ApusError(
        .unsupported, "'\(path)' is a class, \(T.self), which only its own code can copy",
        expected: "a struct that conforms to Module")
    }
    return try copyFields(value, at: path)
  }

  private mutating func copied(_ state: ModelState) throws -> ModelState {
    if let known = states[ObjectIdentifier(state)] { return known }
    let copy = try state.copied(lock: lock)
    states[ObjectIdentifier(state)] = copy
    return copy
  }

  private mutating func copied(_ scope: Scope) -> Scope {
    if let known = scopes[ObjectIdentifier(scope)] { return known }
    let copy = Scope()
    copy.path = scope.path
    scopes[ObjectIdentifier(scope)] = copy
    return copy
  }

  /// A layer's adapter stands in a place that its values share; a copy has a place of its own.
  private mutating func copied(_ slot: LowRankSlot) throws -> LowRankSlot {
    LowRankSlot(try slot.adapter?.copied { try copied($0) })
  }

  private mutating func copyElements<T, C: CopiedByElements>(
    _ value: T, of container: C.Type, at path: String
  ) throws -> T {
    guard let elements = value as? C else { return value }
    return try elements.copied(by: &self, at: path) as! T
  }

  /// Modules that are structs, parts of layers that say that they hold states, and tuples. Nothing else holds states:
  /// what a model hides in other types is an error of its own.
  private mutating func copyFields<T>(_ value: T, at path: String) throws -> T {
    switch Mirror(reflecting: value).displayStyle {
    case .struct where value is any Module || value is any HoldsStates: break
    case .tuple: break
    default: return value
    }
    var copy = value
    var fields: [(name: String, offset: Int, type: Any.Type)] = []
    _ = _forEachField(of: T.self, options: []) { name, offset, type, _ in
      fields.append((String(cString: name), offset, type))
      return true
    }
    try withUnsafeMutablePointer(to: &copy) { pointer in
      let base = UnsafeMutableRawPointer(pointer)
      for (name, offset, type) in fields where mayHoldStates(type) {
        let place = path.isEmpty ? name : "\(path).\(name)"
        func replace<F>(_: F.Type) throws {
          let field = (base + offset).assumingMemoryBound(to: F.self)
          field.pointee = try copied(field.pointee, at: place)
        }
        try _openExistential(type, do: replace)
      }
    }
    return copy
  }

  /// Of classes only states, scopes and places of adapters are replaced; other references, weak ones among them, are left alone.
  private func mayHoldStates(_ type: Any.Type) -> Bool {
    guard type is AnyClass else { return true }
    return type is ModelState.Type || type is Scope.Type || type is LowRankSlot.Type
      || type is any Module.Type
  }
}

/// Containers that are made anew from copies of their elements.
private protocol CopiedByElements {
  func copied(by copier: inout ModuleCopier, at path: String) throws -> Self
}

extension Array: CopiedByElements {
  func copied(by copier: inout ModuleCopier, at path: String) throws -> [Element] {
    if _isPOD(Element.self) { return self }
    var result: [Element] = []
    for (index, element) in enumerated() {
      result.append(try copier.copied(element, at: "\(path).\(index)"))
    }
    return result
  }
}

extension Optional: CopiedByElements {
  func copied(by copier: inout ModuleCopier, at path: String) throws -> Wrapped? {
    guard let wrapped = self else { return nil }
    return .some(try copier.copied(wrapped, at: path))
  }
}

extension Dictionary: CopiedByElements {
  func copied(by copier: inout ModuleCopier, at path: String) throws -> [Key: Value] {
    var result: [Key: Value] = [:]
    for (key, value) in self { result[key] = try copier.copied(value, at: "\(path).\(key)") }
    return result
  }
}
