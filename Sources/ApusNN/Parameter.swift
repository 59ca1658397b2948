// Trainable arrays.

import ApusGraph
import ApusOps
import ApusRuntime
import Synchronization

/// A named, trainable array of a model, used like a tensor while the model is being recorded.
///
/// A parameter has no value until its model is initialised: then the initialiser draws it from the
/// model's seed and the parameter's own path, so that a value does not depend on the order in which
/// layers were made.
///
///     let scale = Parameter([128], .ones)
///     func callAsFunction(_ x: Tensor) -> Tensor { x * scale.tensor }
public final class Parameter: Sendable {
  public let type: TensorType
  public let initializer: Initializer
  /// Whether optimisers change it. False for running statistics and frozen weights.
  public var isTrainable: Bool {
    get { state.withLock { $0.isTrainable } }
    set { state.withLock { $0.isTrainable = newValue } }
  }

  private struct State {
    var path: String?
    var store: StateStore?
    var isTrainable: Bool
  }
  private let state: Mutex<State>

  /// - `shape`: for weights, outputs first: `[out, in]`, `[out, height, width, in]`.
  /// - `initializer`: how its first value is drawn.
  /// - `isTrainable`: false for buffers, which are saved but not updated by optimisers.
  public init(
    _ shape: Shape, _ initializer: Initializer = .zeros, dtype: DType = .f32,
    isTrainable: Bool = true
  ) {
    type = TensorType(dtype, shape)
    self.initializer = initializer
    state = Mutex(State(isTrainable: isTrainable))
  }

  public var shape: Shape { type.shape }

  /// The property path within its model (`hidden.weight`); nil before the model is bound.
  public var path: String? { state.withLock { $0.path } }

  /// The parameter as a tensor of the graph that is being recorded.
  ///
  /// A parameter that its model does not list (made inside the forward function, or hidden in a type
  /// that reflection cannot see) is recorded as an error.
  public var tensor: Tensor {
    guard let trace = Trace.current else {
      // A trace that nobody finishes; one that the tensor is brought into throws this.
      return .poisoned(
        ApusError(
          .invalidArgument, "a parameter is used as a tensor outside of a recorded closure",
          expected: "a use in a model's function, or value() for its array"),
        like: Tensor(trace: Trace(), value: nil, type: type))
    }
    guard let path else {
      return .poisoned(
        ApusError(
          .missing, "a parameter of shape \(shape) does not belong to the model",
          expected: "a stored property of the model or of one of its parts"),
        like: Tensor(trace: trace, value: nil, type: type))
    }
    return trace.state(path, type)
  }

  /// The current value.
  ///
  /// - Throws: `missing` before the model is initialised.
  public func value() throws -> NDArray {
    let store = try home()
    return try store.array(path ?? "")
  }

  /// Where the value lives.
  ///
  /// - Throws: `missing` before the model is initialised.
  func home() throws -> StateStore {
    guard let store = state.withLock({ $0.store }) else {
      throw ApusError(
        .missing, "the parameter has no value yet", expected: "initialize(seed:) of its model first"
      )
    }
    return store
  }

  /// Gives the parameter a value.
  ///
  /// - Throws: `shapeMismatch` for an array of another type, `missing` before the model is initialised.
  public func set(_ array: NDArray) throws {
    let path = path ?? ""
    guard array.type == type else {
      throw ApusError(
        .shapeMismatch, "parameter '\(path)' is given \(array.type)", expected: "\(type)")
    }
    try home().set(path, array)
  }

  /// Names the parameter and says where its value lives. The first path stays: a weight that two parts
  /// of a model share is one parameter under its first name.
  func bind(path: String, store: StateStore) {
    state.withLock {
      $0.path = path
      $0.store = store
    }
  }

  static func + (a: Tensor, b: Parameter) -> Tensor { a + b.tensor }
  static func * (a: Tensor, b: Parameter) -> Tensor { a * b.tensor }
}
