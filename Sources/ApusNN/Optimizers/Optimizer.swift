// The contract of optimisers.

import ApusGraph
import ApusOps

/// An update rule. It is recorded into the graph of the training step, once for each parameter; what
/// changes from step to step (the learning rate, bias corrections) is computed on the host, so that a
/// schedule never recompiles.
///
///     struct Lion: Optimizer {
///       var learningRate: LearningRate = 1e-4
///       func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
///         let m = state["momentum"]
///         state["momentum"] = m * 0.99 + g * 0.01
///         return p - sign(m * 0.9 + g * 0.1) * state.scalar("rate") { learningRate.value(at: $0.step) }
///       }
///     }
///
/// An optimiser is a value and keeps nothing itself: slots belong to the step that uses it, for each
/// parameter one of each name.
public protocol Optimizer: Sendable {
  /// The new value of a parameter.
  ///
  /// - `parameter`: the old value.
  /// - `gradient`: of the loss, of the parameter's shape.
  /// - `state`: what the rule keeps from step to step, and numbers from the host.
  func update(_ parameter: Tensor, _ gradient: Tensor, _ state: inout UpdateState) -> Tensor
  /// Throws `invalidArgument` for settings that make no sense.
  func validate() throws
  /// The rule and its settings, but for what may change from run to run: a checkpoint is resumed with the
  /// same.
  var rule: String { get }
}

extension Optimizer {
  public func validate() throws {}
  public var rule: String { "\(Self.self)" }
}

/// When an update takes place.
public struct UpdateTime: Sendable, Hashable {
  /// Of the training step, from 0 on: what schedules count.
  public var step: Int
  /// Of the parameter's updates by this optimiser, from 0 on: what bias corrections count. Fewer than steps
  /// where the parameter was frozen at first, or for a while.
  public var update: Int

  public init(step: Int, update: Int) {
    self.step = step
    self.update = update
  }
}

/// What an update rule keeps from step to step, for one parameter, and what it asks the host for.
public struct UpdateState {
  /// Where slots and scalars come from.
  package protocol Source: AnyObject {
    /// The slot of that name of the parameter that is being updated, of `initial` elements at first.
    func slot(_ name: String, _ type: TensorType, initial: Double) -> Tensor
    /// Gives a slot its value for the next step.
    func assign(_ slot: String, _ value: Tensor)
    /// A number that the host computes for each step: `f32[]`.
    func scalar(_ name: String, _ value: @escaping @Sendable (UpdateTime) -> Double) -> Tensor
  }

  private let source: any Source
  /// Of slots without a type of their own: the parameter's.
  private let type: TensorType

  /// - `type`: the parameter's.
  package init(_ source: any Source, of type: TensorType) {
    self.source = source
    self.type = type
  }

  /// The slot of that name: of the parameter's shape, zeros at first. What is set is its value in the
  /// next step.
  public subscript(name: String) -> Tensor {
    get { source.slot(name, type, initial: 0) }
    set { source.assign(name, newValue) }
  }

  /// The slot of that name, of another shape or first value. Set it by the subscript.
  public func slot(_ name: String, shape: Shape? = nil, initial: Double = 0) -> Tensor {
    source.slot(name, shape.map { type.with($0) } ?? type, initial: initial)
  }

  /// A number that changes from step to step: `f32[]`.
  ///
  /// - `value`: the number at a time; called before each step, once for all parameters that have been updated
  ///   equally often.
  public func scalar(_ name: String, _ value: @escaping @Sendable (UpdateTime) -> Double) -> Tensor
  {
    source.scalar(name, value)
  }
}

/// Throws where `value` is not in `range`, naming it.
func require<T: Comparable>(_ name: String, _ value: T, in range: Range<T>, of type: String) throws
{
  guard range.contains(value) else {
    throw ApusError(
      .invalidArgument, "\(type): \(name) is \(value)",
      expected: "\(range.lowerBound) ≤ \(name) < \(range.upperBound)")
  }
}

func require(_ rate: LearningRate, of type: String) throws {
  if let mistake = rate.mistake {
    throw ApusError(
      .invalidArgument, "\(type): \(mistake)",
      expected: "finite rates from 0 on and at least one step")
  }
}
