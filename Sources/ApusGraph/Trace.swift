// The trace: a graph while it is being recorded, with what recording must know besides.

/// How layers behave: in training dropout drops and statistics run on, in evaluation they do not.
public enum Mode: Sendable, Hashable {
  case training
  case evaluation
}

/// What a state of a graph stands for: its identity is the object, whatever the state is called.
package protocol StateOwner: AnyObject, Sendable {}

/// A graph being recorded.
///
/// A trace belongs to the one task that records it; tensors refer to it and must not outlive its use.
/// It is marked Sendable only so that it can be a task-local value.
public final class Trace: @unchecked Sendable {
  /// The trace that layers and parameters record into.
  @TaskLocal package static var current: Trace?

  package internal(set) var graph: Graph
  /// The first mistake made while recording.
  package private(set) var error: ApusError?
  /// Module path components around the op being recorded.
  package private(set) var scopes: [String] = []
  private var streams = 0
  /// Counts random ops, those of regions among them, so that each draws its own numbers from the key.
  package var randomStreams: Int {
    get { outer?.randomStreams ?? streams }
    set {
      if let outer { outer.randomStreams = newValue } else { streams = newValue }
    }
  }
  /// The recomputation that nodes are recorded for; 0 outside `checkpoint`'s backward pass.
  package var recomputation = 0
  /// For each node index recorded within `checkpoint`, the number of its region.
  package private(set) var checkpointRegions: [Int: Int] = [:]
  /// How layers behave that are being recorded.
  public package(set) var mode = Mode.training
  /// Whether parameters are updated; not where a step only keeps the gradients of its batch.
  package var updatesParameters = true
  /// What the states stand for that have an owner, by their names.
  package private(set) var stateOwners: [String: any StateOwner] = [:]
  private var statesByOwner: [ObjectIdentifier: ValueID] = [:]
  /// For each state that has been assigned, the newest value.
  private var newest: [ValueID: ValueID] = [:]
  /// The state that a value is an assigned version of; nil where it is one of several.
  private var stateOfVersion: [ValueID: ValueID?] = [:]
  /// Values through which no gradient flows, such as a parameter's after an update.
  private var detached: Set<ValueID> = []
  /// What the divisor of a mean is, so that means over several batches can be put together.
  var meanWeights: [ValueID: () -> Tensor] = [:]
  /// All values that a state has had, its own first.
  private var versionsOfState: [ValueID: [ValueID]] = [:]
  /// What this recording took for granted of things that may change later, such as whether a parameter learns:
  /// each says whether it still is so.
  package private(set) var assumptions: [() -> Bool] = []
  private var assumed: Set<ObjectIdentifier> = []
  /// What modules gave, in the order in which they ended, each under its path; nil where nobody asks for it.
  package var moduleResults: [(path: String, tensor: Tensor)]?
  private var openRegion: Int?
  /// Where the user called the library layer whose ops are being recorded.
  private var callLocation: String?
  /// The line of the closure that is recorded, where it is known: the place of what has none nearer.
  private let closureLocation: String?
  private var regionCount = 0
  private var originOverride: Origin?
  private let index: TraceIndex
  /// The trace around this one, where this one records a region of an op of that one.
  package let outer: Trace?
  /// How many traces are around it.
  let depth: Int
  /// What a region takes from the traces around it, by trace and value, in the order in which it was met.
  package internal(set) var captured: [Tensor] = []
  var captures: [Captured: ValueID] = [:]
  /// Of the processes that train together, the one that records this: each draws random numbers of its own.
  package var rank = 0
  /// States that have been given a value which depends on the examples and which no optimiser has made.
  package private(set) var statistics: [any StateOwner] = []
  /// What stands for the random key in a region.
  package var regionKey: (() -> Tensor)?

  /// - `earlier`: a trace of the same graph when it was shorter. What that one knows of it need not be found
  ///   out again.
  /// - `location`: `file:line` of the closure that is recorded.
  package init(
    _ graph: Graph = Graph(), continuing earlier: Trace? = nil, at location: String? = nil
  ) {
    self.graph = graph
    closureLocation = location
    index = earlier?.index ?? TraceIndex()
    outer = nil
    depth = 0
  }

  /// A trace of a region of an op that `outer` records.
  ///
  /// Ops are recorded in the innermost trace of their operands: what depends on nothing within the region is
  /// recorded outside. Tensors from outside that are used within become inputs, named `constant0` and so on.
  package init(within outer: Trace) {
    graph = Graph()
    closureLocation = outer.callLocation ?? outer.closureLocation
    index = TraceIndex()
    self.outer = outer
    depth = outer.depth + 1
    mode = outer.mode
    scopes = outer.scopes
    originOverride = outer.originOverride
  }

  // MARK: Values from outside

  /// A new input of the graph. Its name must be unique, and arrays of its type must be possible.
  package func input(_ name: String, _ type: TensorType) -> Tensor {
    check(type, "input", name)
    if index.hasInput(name, in: graph) {
      record(
        ApusError(.invalidArgument, "two inputs are named '\(name)'", expected: "unique names"))
    }
    return tensor(graph.addInput(name, type))
  }

  /// The state of that name, made where there is none yet; its type must be the same each time. Where it
  /// has been assigned, its newest value.
  package func state(_ name: String, _ type: TensorType) -> Tensor {
    if let outer { return outer.state(name, type) }
    guard let existing = index.state(name, in: graph) else {
      check(type, "state", name)
      return tensor(graph.addState(name, type))
    }
    if graph.type(of: existing) != type {
      record(
        ApusError(
          .invalidArgument, "state '\(name)' is used as \(graph.type(of: existing)) and \(type)",
          expected: "one type"))
    }
    return tensor(newest[existing] ?? existing)
  }

  /// The state that stands for `owner`, made where there is none yet. Where it has been assigned, its
  /// newest value.
  ///
  /// - `label`: its name in the graph; a number is added where another state has it.
  package func state(of owner: any StateOwner, named label: String, _ type: TensorType) -> Tensor {
    if let outer { return outer.state(of: owner, named: label, type) }
    let identity = ObjectIdentifier(owner)
    if let existing = statesByOwner[identity] { return tensor(newest[existing] ?? existing) }
    var name = label, number = 1
    while hasState(name) {
      number += 1
      name = "\(label)#\(number)"
    }
    check(type, "state", name)
    let value = graph.addState(name, type)
    statesByOwner[identity] = value
    stateOwners[name] = owner
    return tensor(value)
  }

  /// All values that the state of `owner` has had so far in this trace, oldest first; none where it has
  /// not been used.
  package func versions(of owner: any StateOwner) -> [Tensor] {
    if let outer { return outer.versions(of: owner) }
    guard let state = statesByOwner[ObjectIdentifier(owner)] else { return [] }
    return (versionsOfState[state] ?? [state]).map(tensor)
  }

  /// Records an error for a type that no array can have.
  private func check(_ type: TensorType, _ kind: String, _ name: String) {
    do {
      _ = try type.checked("\(kind) '\(name)'")
    } catch {
      record(asApusError(error))
    }
  }

  /// Whether a state of that name has been recorded.
  package func hasState(_ name: String) -> Bool {
    outer?.hasState(name) ?? (index.state(name, in: graph) != nil)
  }

  /// A constant of the graph. Small equal ones are one value.
  public func constant(_ array: NDArray) -> Tensor {
    if let existing = index.constant(array, in: graph) { return tensor(existing) }
    return tensor(graph.addConstant(array))
  }

  /// A scalar constant of the given type.
  ///
  /// A number that an integer type cannot hold, such as 0.5 or 300 for `u8`, is noted as a mistake.
  public func constant(_ value: Double, _ dtype: DType = .f32) -> Tensor {
    if !dtype.holds(value) {
      record(
        ApusError(
          .invalidArgument, "\(AttributeValue.double(value)) is no \(dtype)",
          expected: "a whole number of that type, or a cast of the tensor first"))
    }
    return constant(NDArray(doubles: [value], type: TensorType(dtype, [])))
  }

  /// The tensor that stands for a value of this graph.
  package func tensor(_ value: ValueID) -> Tensor {
    Tensor(trace: self, value: value, type: graph.type(of: value))
  }

  // MARK: Recording

  func apply(_ op: any Op, _ operands: [Tensor], resultCount: Int, location: String?) -> [Tensor] {
    func poison() -> [Tensor] {
      let type = operands.first?.type ?? TensorType(.f32, [])
      return Array(repeating: Tensor(trace: self, value: nil, type: type), count: resultCount)
    }
    for operand in operands {
      guard owns(operand, as: "\(op.mnemonic): an operand", location: location) else {
        return poison()
      }
    }
    if operands.contains(where: \.isPoisoned) { return poison() }
    let operands = outer == nil ? operands : operands.map(local)
    let origin =
      originOverride
      ?? Origin(
        scope: scope, location: location.map(userLocation) ?? inheritedLocation(operands))
    do {
      let results = try graph.addNode(
        op, operands.map { Operand($0.value!) }, origins: [origin], recomputation: recomputation)
      if let openRegion { checkpointRegions[graph.nodes.count - 1] = openRegion }
      return results.map { tensor($0) }
    } catch let error as ApusError {
      record(error.located(at: origin.description))
      return poison()
    } catch {
      record(
        ApusError(.invalidArgument, "\(op.mnemonic): \(error)").located(at: origin.description))
      return poison()
    }
  }

  /// Whether `tensor` was recorded here. Where it was not, that is noted as the mistake, or else the
  /// mistake that poisoned it in its own trace.
  ///
  /// - `role`: what the tensor is to be, such as "an output".
  package func owns(_ tensor: Tensor, as role: String, location: String? = nil) -> Bool {
    if tensor.trace === self || isWithin(tensor.trace) { return true }
    if tensor.trace.isWithin(self) {
      record(
        tensor.trace.error
          ?? ApusError(
            .invalidArgument, "\(role) was made within a loop's body",
            expected: "what the loop returns: give it out as a carry or an output"),
        location: location)
      return false
    }
    record(
      tensor.trace.error
        ?? ApusError(
          .invalidArgument, "\(role) comes from another trace",
          expected: "tensors of one closure, made while it runs"), location: location)
    return false
  }

  /// A line within the library says nothing to a user: the call of its layer or function stands for it, or the
  /// closure around that.
  private func userLocation(_ location: String) -> String {
    Self.modules.contains(where: location.hasPrefix)
      ? callLocation ?? closureLocation ?? location : location
  }

  /// What `#fileID` begins with in the library's modules that call others' functions for users.
  private static let modules = ["ApusNN/", "ApusTraining/", "ApusOps/", "ApusAutodiff/"]

  /// Records the ops of `body` as called from `location`, as far as they stand in library layers.
  package func withCallLocation<R>(_ location: String, _ body: () throws -> R) rethrows -> R {
    let saved = callLocation
    callLocation = userLocation(location)
    defer { callLocation = saved }
    return try body()
  }

  /// Operators cannot take `#line`: they are placed where the operand made last was. Inputs and parameters
  /// were made nowhere: the closure's line is the nearest that is known.
  private func inheritedLocation(_ operands: [Tensor]) -> String {
    if let callLocation { return callLocation }
    let made = operands.compactMap(\.value).max().flatMap(location)
    return made ?? closureLocation ?? ""
  }

  /// Where a value was made, if that is known.
  private func location(of value: ValueID) -> String? {
    guard let location = maker(of: value)?.origins.first?.location, !location.isEmpty else {
      return nil
    }
    return location
  }

  /// The node that makes a value; nil for inputs, states and constants.
  package func maker(of value: ValueID) -> Node? {
    // Nodes stand in the order of their results' numbers. A parameter may have no node at all: looking
    // through all of them would make recording a large model take quadratic time.
    var low = 0, high = graph.nodes.count
    while low < high {
      let middle = (low + high) / 2
      if graph.nodes[middle].results[0] <= value { low = middle + 1 } else { high = middle }
    }
    guard low > 0, graph.nodes[low - 1].results.contains(value) else { return nil }
    return graph.nodes[low - 1]
  }

  /// Notes a mistake; the first one is thrown by `finish`.
  public func record(_ error: ApusError, location: String? = nil) {
    guard self.error == nil else { return }
    let place = location.map(userLocation) ?? callLocation ?? closureLocation ?? ""
    let error = error.located(at: Origin(scope: scope, location: place).description)
    self.error = error
    outer?.record(error)
  }

  /// Throws the first mistake, if one was made.
  package func check() throws {
    if let error { throw error }
  }

  /// Records the ops of `body` in another mode.
  public func withMode<R>(_ mode: Mode, _ body: () throws -> R) rethrows -> R {
    let saved = self.mode
    self.mode = mode
    defer { self.mode = saved }
    return try body()
  }

  /// The module path of ops recorded now.
  package var scope: String { scopes.joined(separator: ".") }

  /// Records the ops of `body` under the absolute module path `path`.
  package func withScope<R>(path: String, _ body: () throws -> R) rethrows -> R {
    let saved = scopes
    scopes = path.isEmpty ? [] : [path]
    defer { scopes = saved }
    return try body()
  }

  /// Records the ops of `body` as if they came from `origin`; gradient rules run so.
  package func withOrigin<R>(_ origin: Origin?, _ body: () throws -> R) rethrows -> R {
    let saved = originOverride
    originOverride = origin
    defer { originOverride = saved }
    return try body()
  }

  /// Records the ops of `body` as a region that the backward pass recomputes instead of keeping.
  package func withCheckpoint<R>(_ body: () throws -> R) rethrows -> R {
    let saved = openRegion
    if saved == nil {
      regionCount += 1
      openRegion = regionCount
    }
    defer { openRegion = saved }
    return try body()
  }

  /// The region that the backward pass recomputes for a node; nil outside regions, and in the one that is
  /// being recorded, whose values are at hand.
  package func closedCheckpoint(of node: Int) -> Int? {
    checkpointRegions[node].flatMap { $0 == openRegion ? nil : $0 }
  }

  // MARK: Assumptions

  /// Notes that what is recorded depends on something of `owner` that may change.
  ///
  /// - `holds`: whether it still is as it was when it was asked for.
  package func assume(_ owner: AnyObject, _ holds: @escaping () -> Bool) {
    if let outer { return outer.assume(owner, holds) }
    if assumed.insert(ObjectIdentifier(owner)).inserted { assumptions.append(holds) }
  }

  // MARK: Results

  /// Gives a state its value for the next run. Who reads it afterwards in this trace reads that value, so
  /// that several assignments compose in their order; the last one is what the state keeps.
  ///
  /// - `state`: what `state(_:_:)` gave, before or after earlier assignments.
  package func assign(_ state: Tensor, _ value: Tensor) {
    guard isOutermost() else { return }
    guard owns(state, as: "a state"), let given = state.value else { return }
    let known = index.isState(given, in: graph) ? given : stateOfVersion[given] ?? nil
    guard let known else {
      record(
        ApusError(
          .invalidArgument, "what is assigned to is no state, or a value that several states have",
          expected: "a state's tensor, read anew before each assignment"))
      return
    }
    assign(known, value)
  }

  /// Gives the state of `owner` its value for the next run, as ``assign(_:_:)-(Tensor,_)``. The state must
  /// have been used in this trace.
  package func assign(_ owner: any StateOwner, _ value: Tensor) {
    guard isOutermost() else { return }
    guard let state = statesByOwner[ObjectIdentifier(owner)] else {
      record(
        ApusError(
          .missing, "a state is assigned that this trace has not used",
          expected: "state(of:named:_:) first"))
      return
    }
    assign(state, value)
  }

  /// Gives a statistic of the examples, such as a running mean, its value for the next run, as
  /// ``assign(_:_:)-(StateOwner,_)``. Processes that train together put theirs together.
  package func assign(statistic owner: any StateOwner, _ value: Tensor) {
    assign(owner, value)
    if !statistics.contains(where: { $0 === owner }) { statistics.append(owner) }
  }

  /// Whether states can be assigned here; where they cannot, that is noted as the mistake.
  private func isOutermost() -> Bool {
    if outer == nil { return true }
    record(
      ApusError(
        .unsupported, "a loop's body gives a state, such as a running mean, a new value",
        expected: "a carry of the loop, and an update behind it with what the loop returns"))
    return false
  }

  private func assign(_ state: ValueID, _ value: Tensor) {
    guard owns(value, as: "a state's value"), let newValue = value.value else { return }
    guard graph.type(of: state) == value.type else {
      record(
        ApusError(
          .shapeMismatch,
          "a state of type \(graph.type(of: state)) is assigned a value of type \(value.type)",
          expected: "equal types"))
      return
    }
    if index.isAssigned(state, in: graph) {
      graph.assign(state, Operand(newValue))
    } else {
      graph.assignments.append(GraphAssignment(state: state, operand: Operand(newValue)))
    }
    newest[state] = newValue
    versionsOfState[state, default: [state]].append(newValue)
    // Of a value that several states have taken nobody can say which it stands for.
    let isShared = stateOfVersion[newValue].map { $0 != state } ?? false
    stateOfVersion[newValue] = isShared ? .some(nil) : state
  }

  /// Lets no gradient through a value.
  package func detach(_ tensor: Tensor) {
    if let value = tensor.value { detached.insert(value) }
  }

  /// Whether gradients end at a value.
  package func isDetached(_ value: ValueID) -> Bool { detached.contains(value) }

  // MARK: Outputs

  /// Names a result of the graph.
  ///
  /// - `isRequired`: where it is a NaN or an infinity, no state changes; one f32.
  package func output(_ name: String, _ tensor: Tensor, isRequired: Bool = false) {
    guard owns(tensor, as: "output '\(name)'"), let value = tensor.value else { return }
    graph.outputs.append(
      GraphOutput(name: name, operand: Operand(value), isRequired: isRequired))
  }

  /// The recorded graph as it is, which the trace gives away: what follows is no part of it.
  package func release() -> Graph {
    let released = graph
    graph = Graph()
    return released
  }

  /// The recorded graph.
  ///
  /// - Throws: the first mistake made while recording.
  package func finish() throws -> Graph {
    try check()
    return graph.compacted()
  }
}
