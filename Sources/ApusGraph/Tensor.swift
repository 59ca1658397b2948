// The symbolic tensor of the front end, and the trace that records it.

/// A value in a graph that is being recorded.
///
/// Arithmetic on tensors computes nothing: it appends nodes to the trace. A mistake (shapes that do not
/// fit) is recorded where it was made and thrown once, when the trace is finished; until then the
/// tensor that came of it is *poisoned* and takes part in further ops silently.
public struct Tensor {
  public let trace: Trace
  /// Nil for a poisoned tensor.
  public let value: ValueID?
  public let type: TensorType

  public init(trace: Trace, value: ValueID?, type: TensorType) {
    self.trace = trace
    self.value = value
    self.type = type
  }

  public var shape: Shape { type.shape }
  public var dtype: DType { type.dtype }
  public var rank: Int { type.rank }
  public var isPoisoned: Bool { value == nil }

  /// Applies an op to tensors of one trace and returns all its results.
  ///
  /// - `location`: `file:line` of the user's call; where it is nil, that of the operand that
  ///   was made last.
  public static func applyAll(
    _ op: some Op, to operands: [Tensor], resultCount: Int = 1, location: String? = nil
  ) -> [Tensor] {
    // Outside a closure that is being recorded, into a trace that nobody finishes.
    let trace = operands.first?.trace ?? Trace.current ?? Trace()
    return trace.apply(op, operands, resultCount: resultCount, location: location)
  }

  /// Applies an op with one result.
  public static func apply(_ op: some Op, to operands: Tensor..., location: String? = nil) -> Tensor
  {
    applyAll(op, to: operands, location: location)[0]
  }

  /// A tensor without a value, for errors that a sugar function finds before any op is made.
  public static func poisoned(_ error: ApusError, like tensor: Tensor, location: String? = nil)
    -> Tensor
  {
    tensor.trace.record(error, location: location)
    return Tensor(trace: tensor.trace, value: nil, type: tensor.type)
  }
}

/// `"file:line"` from the default arguments of a sugar function.
public func sourceLocation(_ file: StaticString, _ line: UInt) -> String { "\(file):\(line)" }

/// A graph being recorded.
///
/// A trace belongs to the one task that records it; tensors refer to it and must not outlive its use.
/// It is marked Sendable only so that it can be a task-local value.
public final class Trace: @unchecked Sendable {
  /// The trace that layers and parameters record into.
  @TaskLocal public static var current: Trace?

  public private(set) var graph: Graph
  /// The first mistake made while recording.
  public private(set) var error: ApusError?
  /// Module path components around the op being recorded.
  public private(set) var scopes: [String] = []
  /// Gradient rules that the user gave, by the `id` attribute of their `custom_gradient` node.
  public var customGradients: [Int: CustomGradient] = [:]
  /// Values that several parts of a trace share, such as a parameter's tensor, by an owner's identity.
  public var shared: [ObjectIdentifier: Tensor] = [:]
  /// Counts random ops, so that each draws its own numbers from the key.
  public var randomStreams = 0
  /// The recomputation that nodes are recorded for; 0 outside `checkpoint`'s backward pass.
  public var recomputation = 0
  /// For each node index recorded within `checkpoint`, the number of its region.
  public var checkpointRegions: [Int: Int] = [:]
  /// Whether layers behave as in training (dropout drops) or as in evaluation.
  public var isTraining = true
  /// Named values to report besides the graph's results, by `metric(_:_:)`.
  public private(set) var metrics: [(name: String, tensor: Tensor)] = []
  private var openRegion: Int?
  /// Where the user called the library layer whose ops are being recorded.
  private var callLocation: String?
  private var regionCount = 0
  private var originOverride: Origin?

  public typealias CustomGradient = (_ context: GradientContext) throws -> [Tensor?]

  public init(_ graph: Graph = Graph()) { self.graph = graph }

  // MARK: Values from outside

  /// A new input of the graph. Its name must be unique.
  public func input(_ name: String, _ type: TensorType) -> Tensor {
    if graph.inputs.contains(where: { $0.name == name }) {
      record(
        ApusError(.invalidArgument, "two inputs are named '\(name)'", expected: "unique names"))
    }
    return tensor(graph.addInput(name, type))
  }

  /// The state of that name, made where there is none yet; its type must be the same each time.
  public func state(_ name: String, _ type: TensorType) -> Tensor {
    if let existing = graph.states.first(where: { $0.name == name }) {
      if graph.type(of: existing.value) != type {
        record(
          ApusError(
            .invalidArgument,
            "state '\(name)' is used as \(graph.type(of: existing.value)) and \(type)",
            expected: "one type"))
      }
      return tensor(existing.value)
    }
    return tensor(graph.addState(name, type))
  }

  /// A constant of the graph. Small equal ones are one value.
  public func constant(_ array: NDArray) -> Tensor {
    if array.count <= 16, let existing = graph.constants.first(where: { $0.array == array }) {
      return tensor(existing.value)
    }
    return tensor(graph.addConstant(array))
  }

  /// A scalar constant of the given type.
  public func constant(_ value: Double, _ dtype: DType = .f32) -> Tensor {
    constant(NDArray(doubles: [value], type: TensorType(dtype, [])))
  }

  /// The tensor that stands for a value of this graph.
  public func tensor(_ value: ValueID) -> Tensor {
    Tensor(trace: self, value: value, type: graph.type(of: value))
  }

  // MARK: Recording

  func apply(_ op: some Op, _ operands: [Tensor], resultCount: Int, location: String?) -> [Tensor] {
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
  public func owns(_ tensor: Tensor, as role: String, location: String? = nil) -> Bool {
    if tensor.trace === self { return true }
    record(
      tensor.trace.error
        ?? ApusError(
          .invalidArgument, "\(role) comes from another trace",
          expected: "tensors of one closure, made while it runs"), location: location)
    return false
  }

  /// A line within the library's own layers says nothing to a user: the call of the layer stands for it.
  private func userLocation(_ location: String) -> String {
    location.hasPrefix("ApusNN/") ? callLocation ?? location : location
  }

  /// Records the ops of `body` as called from `location`, as far as they stand in library layers.
  public func withCallLocation<R>(_ location: String, _ body: () throws -> R) rethrows -> R {
    let saved = callLocation
    callLocation = userLocation(location)
    defer { callLocation = saved }
    return try body()
  }

  /// Operators cannot take `#line`: they are placed where the operand made last was.
  private func inheritedLocation(_ operands: [Tensor]) -> String {
    if let callLocation { return callLocation }
    guard let last = operands.compactMap(\.value).max() else { return "" }
    // Nodes stand in the order of their results' numbers. A parameter may have no node at all: looking
    // through all of them would make recording a large model take quadratic time.
    var low = 0, high = graph.nodes.count
    while low < high {
      let middle = (low + high) / 2
      if graph.nodes[middle].results[0] <= last { low = middle + 1 } else { high = middle }
    }
    guard low > 0, graph.nodes[low - 1].results.contains(last) else { return "" }
    return graph.nodes[low - 1].origins.first?.location ?? ""
  }

  /// Notes a mistake; the first one is thrown by `finish`.
  public func record(_ error: ApusError, location: String? = nil) {
    guard self.error == nil else { return }
    self.error = error.located(
      at: Origin(scope: scope, location: location.map(userLocation) ?? "").description)
  }

  /// Throws the first mistake, if one was made.
  public func check() throws {
    if let error { throw error }
  }

  /// The module path of ops recorded now.
  public var scope: String { scopes.joined(separator: ".") }

  /// Records the ops of `body` under the absolute module path `path`.
  public func withScope<R>(path: String, _ body: () throws -> R) rethrows -> R {
    let saved = scopes
    scopes = path.isEmpty ? [] : [path]
    defer { scopes = saved }
    return try body()
  }

  /// Records the ops of `body` as if they came from `origin`; gradient rules run so.
  public func withOrigin<R>(_ origin: Origin?, _ body: () throws -> R) rethrows -> R {
    let saved = originOverride
    originOverride = origin
    defer { originOverride = saved }
    return try body()
  }

  /// Records the ops of `body` as a region that the backward pass recomputes instead of keeping.
  public func withCheckpoint<R>(_ body: () throws -> R) rethrows -> R {
    let saved = openRegion
    if saved == nil {
      regionCount += 1
      openRegion = regionCount
    }
    defer { openRegion = saved }
    return try body()
  }

  // MARK: Results

  /// Gives a state its value for the next run.
  public func assign(_ state: Tensor, _ value: Tensor) {
    guard owns(state, as: "a state"), owns(value, as: "a state's value") else { return }
    guard let stateValue = state.value, let newValue = value.value else { return }
    guard state.type == value.type else {
      record(
        ApusError(
          .shapeMismatch, "a state of type \(state.type) is assigned a value of type \(value.type)",
          expected: "equal types"))
      return
    }
    graph.assign(stateValue, Operand(newValue))
  }

  /// Notes a value to report under a name; a second one of that name replaces the first.
  public func report(_ name: String, _ tensor: Tensor) {
    guard owns(tensor, as: "metric '\(name)'") else { return }
    metrics.removeAll { $0.name == name }
    metrics.append((name, tensor))
  }

  /// Names a result of the graph.
  public func output(_ name: String, _ tensor: Tensor) {
    guard owns(tensor, as: "output '\(name)'"), let value = tensor.value else { return }
    graph.outputs.append(GraphOutput(name: name, operand: Operand(value)))
  }

  /// The recorded graph.
  ///
  /// - Throws: the first mistake made while recording.
  public func finish() throws -> Graph {
    try check()
    return graph.compacted()
  }
}

/// Records a graph from a closure over its inputs.
///
///     let graph = try traced([.f32(2, 3), .f32(2, 3)]) { [$0[0] + $0[1]] }
///
/// - Throws: the first mistake made in the closure, with its place.
public func traced(
  _ inputs: [TensorType], names: [String]? = nil, _ body: ([Tensor]) throws -> [Tensor]
) throws -> Graph {
  let trace = Trace()
  try Trace.$current.withValue(trace) {
    let tensors = inputs.enumerated().map { index, type in
      trace.input(names?[index] ?? "input\(index)", type)
    }
    for (index, result) in try body(tensors).enumerated() { trace.output("output\(index)", result) }
  }
  return try trace.finish()
}
