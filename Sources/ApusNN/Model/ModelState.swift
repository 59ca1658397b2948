// What a model keeps: the common part of parameters and buffers.

import ApusGraph
import ApusRuntime
import Synchronization

/// A named array that lives as long as its model: a ``Parameter``, which is learnt, or a ``Buffer``, which
/// is not.
///
/// The state *is* this object. It gets its memory when its model is initialised or loaded and keeps it for
/// life, whatever the models, steps and files call it. A path is only a label, given by the model that
/// named it last.
public class ModelState: @unchecked Sendable {  // all that changes is behind the mutex
  public let type: TensorType
  /// How the first value is made.
  public let initializer: Initializer

  private struct Life {
    var path: String?
    var cell: StateCell?
    var isTied = false
  }
  private let life = Mutex(Life())
  private let frozen: Atomic<Bool>
  /// Counts how often any state was frozen or unfrozen, so that steps notice.
  package static let freezes = Atomic<Int>(0)

  init(_ type: TensorType, _ initializer: Initializer, isFrozen: Bool = false) {
    self.type = type
    frozen = Atomic(isFrozen)
    self.initializer = initializer
  }

  public var shape: Shape { type.shape }

  /// The property path within the model that named it last (`hidden.weight`); nil before any did.
  public var path: String? { life.withLock { $0.path } }

  /// Whether it has a value.
  public var isInitialized: Bool { cell != nil }

  /// What errors call it.
  package var kind: String { "state" }
  /// `parameter 'hidden.weight'`, or the shape where it has no path.
  var name: String { path.map { "\(kind) '\($0)'" } ?? "a \(kind) of shape \(shape)" }

  /// Whether steps leave it as it is: one of the kinds is not trained, the other not updated.
  ///
  /// What is recorded while it is asked for is recorded again once the answer is another.
  var isKept: Bool {
    get {
      let value = frozen.load(ordering: .relaxed)
      Trace.current?.assume(self) { self.frozen.load(ordering: .relaxed) == value }
      return value
    }
    set {
      frozen.store(newValue, ordering: .relaxed)
      Self.freezes.add(1, ordering: .releasing)
    }
  }

  // MARK: In a graph

  /// The array as a tensor of the graph that is being recorded; where it has been updated in this graph, the
  /// newest value.
  ///
  /// One that has no value is recorded as an error: its model was not initialised, or does not list it.
  public var tensor: Tensor {
    if let substitute = Self.substitutes.tensors[ObjectIdentifier(self)] { return substitute }
    guard let trace = Trace.current else {
      // A trace that nobody finishes; one that the tensor is brought into throws this.
      return .poisoned(
        ApusError(
          .invalidArgument, "\(name) is used as a tensor outside of a recorded closure",
          expected: "a use in a model's function, or value() for its array"),
        like: Tensor(trace: Trace(), value: nil, type: type))
    }
    guard let cell else {
      if Self.isOutlined { return trace.input("state \(trace.graph.inputs.count)", type) }
      return .poisoned(uninitialized, like: Tensor(trace: trace, value: nil, type: type))
    }
    return trace.state(of: cell, named: path ?? kind, type)
  }

  package var uninitialized: ApusError {
    guard let path else {
      return ApusError(
        .missing, "\(name) has no value: no model that was initialised lists it",
        expected:
          "initialize(seed:) of its model; it must be a stored property of the model or of a part "
          + "(not lazy, computed, in a closure, or in a type that is no Module)")
    }
    return ApusError(
      .missing, "\(kind) '\(path)' has no value: its model is not initialised",
      expected: "initialize(seed:) or load(_:) of the model first")
  }

  // MARK: Value

  /// The current value.
  ///
  /// - Throws: `missing` before the model is initialised.
  public func value() throws -> NDArray { try home().array }

  /// Gives it a value.
  ///
  /// - Throws: `shapeMismatch` or `dtypeMismatch` for an array of another type, `resource` where the
  ///   system gives no memory.
  public func set(_ array: NDArray) throws { try give(array, lock: StateLock()) }

  /// Its memory.
  ///
  /// - Throws: `missing` where it has none yet.
  package func home() throws -> StateCell {
    guard let cell else { throw uninitialized }
    return cell
  }

  /// Its memory, if it has any.
  package var cell: StateCell? { life.withLock { $0.cell } }

  /// Sets the value; memory is made where there is none, under `lock`.
  package func give(_ array: NDArray, lock: @autoclosure () -> StateLock) throws {
    guard array.type == type else {
      throw ApusError(
        array.shape == shape ? .dtypeMismatch : .shapeMismatch, "\(name) is given \(array.type)",
        expected: "\(type)")
    }
    if let cell { return try cell.set(array) }
    let made = try StateCell(array, lock: lock(), for: name)
    // Of two threads that get here the first gives the memory.
    let winner = life.withLock { life in
      life.cell = life.cell ?? made
      return life.cell!
    }
    if winner !== made { try winner.set(array) }
  }

  // MARK: Names

  func named(_ path: String) { life.withLock { $0.path = path } }

  /// Whether several places of a model may hold it; see `tied()` of the kinds.
  public var isTied: Bool { life.withLock { $0.isTied } }

  func noteTied() { life.withLock { $0.isTied = true } }

  /// One of the same kind with a value of its own.
  func copied(lock: StateLock) throws -> ModelState {
    let copy = blank()
    let (path, isTied) = life.withLock { ($0.path, $0.isTied) }
    copy.life.withLock {
      $0.path = path
      $0.isTied = isTied
    }
    if let cell { try copy.give(cell.array, lock: lock) }
    return copy
  }

  /// One of the same kind and settings, without a value.
  func blank() -> ModelState { ModelState(type, initializer, isFrozen: isKept) }
}

/// A learnt array of a model, used like a tensor while the model is being recorded.
///
///     let scale = Parameter([128], .ones)
///     func callAsFunction(_ x: Tensor) -> Tensor { x * scale }
///
/// It has no value until its model is initialised or loaded. The first value is drawn from the model's
/// seed and the parameter's path, so that it does not depend on the order in which layers were made.
public final class Parameter: ModelState, @unchecked Sendable {
  /// Whether steps train it. A change holds from the next step on, whatever was compiled before.
  public var isTrainable: Bool {
    get { !isKept }
    set { isKept = !newValue }
  }

  /// - `shape`: for weights, outputs first: `[out, in]`, `[out, height, width, in]`.
  /// - `initializer`: how its first value is drawn.
  /// - `isTrainable`: false for one that is frozen at first. What is never learnt is a ``Buffer``.
  public init(
    _ shape: Shape, _ initializer: Initializer = .zeros, dtype: DType = .f32,
    isTrainable: Bool = true
  ) {
    super.init(TensorType(dtype, shape), initializer, isFrozen: !isTrainable)
  }

  package override var kind: String { "parameter" }

  /// The same parameter, for another place of the model: weights that two parts share are asked for.
  ///
  ///     head = Linear(weight: embedding.weight.tied())
  ///
  /// Without this a model that holds one parameter in two places is an error, since `let b = a` and
  /// `Array(repeating: Linear(64, 64), count: 12)` share weights that nobody meant to share.
  public func tied() -> Parameter {
    noteTied()
    return self
  }

  override func blank() -> ModelState {
    Parameter(shape, initializer, dtype: type.dtype, isTrainable: isTrainable)
  }
}

/// An array that a model keeps but does not learn: running statistics, masks, tables. It is saved and
/// loaded with the parameters; no optimiser touches it and no `unfreeze` makes it learnt. One that is frozen
/// keeps its value.
///
///     struct Counter: Module {
///       let seen = Buffer([], .zeros)
///       func callAsFunction(_ x: Tensor) -> Tensor {
///         if x.trace.mode == .training { seen.update(to: seen.tensor + 1) }
///         return x
///       }
///     }
public final class Buffer: ModelState, @unchecked Sendable {
  /// - `initializer`: its first value.
  public init(_ shape: Shape, _ initializer: Initializer = .zeros, dtype: DType = .f32) {
    super.init(TensorType(dtype, shape), initializer)
  }

  /// Whether ``update(to:)`` is without effect: `freeze` of its model sets it, `unfreeze` takes it back. A change
  /// holds from the next step on, whatever was compiled before.
  ///
  /// A normalisation whose estimates are frozen uses them in training too.
  public var isFrozen: Bool {
    get { isKept }
    set { isKept = newValue }
  }

  package override var kind: String { "buffer" }

  /// Gives the buffer its value for the next step. Who reads ``ModelState/tensor`` afterwards in the same
  /// graph reads the new value, so that a module which is applied twice in a step updates twice.
  ///
  /// - `value`: of the buffer's type; no gradient flows through it. It is left where the buffer is frozen.
  public func update(to value: Tensor) {
    if isFrozen { return }
    // Makes the state known to the trace, and notes where it has no value.
    guard !tensor.isPoisoned, let cell else { return }
    value.trace.assign(statistic: cell, value.stopGradient())
  }

  override func blank() -> ModelState {
    let blank = Buffer(shape, initializer, dtype: type.dtype)
    blank.isFrozen = isFrozen
    return blank
  }
}
