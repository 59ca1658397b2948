// The contract of optimisers.

import ApusGraph
import ApusOps

/// An update rule. It is recorded into the graph of the training step, once for each parameter; what
/// changes from step to step (the learning rate, bias corrections) is computed on the host, so that a
/// schedule never recompiles.
///
///     struct SignDescent: Optimizer {
///       var learningRate: LearningRate = 1e-4
///       func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
///         let rate = learningRate
///         let m = state["momentum"] * 0.9 + g * 0.1
///         state["momentum"] = m
///         return p - sign(m) * state.scalar("rate") { rate.value(at: $0.step) }
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
  /// What the rule makes of a table of which a step looks up some rows; ``RowUpdates/never`` by default.
  var rowUpdates: RowUpdates { get }
}

/// What an update rule makes of a table, such as an embedding's, of which a step has looked up some rows: whether
/// it updates those rows alone, at the cost of the batch and not of the table.
public enum RowUpdates: Sendable, Hashable {
  /// The whole table: the rule moves rows without a gradient too, by momentum or decay.
  case never
  /// Rows alone, where they are few: what has a gradient of 0 keeps its value and its slots by this rule, so that
  /// the bits are those of a whole update.
  case exact
  /// Rows alone, always: the rule is lazy, and means that.
  case always
}

extension Optimizer {
  public func validate() throws {}
  public var rule: String { "\(Self.self)" }
  public var rowUpdates: RowUpdates { .never }
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
  /// Before the names of numbers, where one rule is a part of another.
  private var prefix = ""

  /// - `type`: the parameter's.
  package init(_ source: any Source, of type: TensorType) {
    self.source = source
    self.type = type
  }

  /// The same state for a rule that is a part of another one: the numbers that it asks for are its own, whatever
  /// their names.
  func part(_ name: String) -> UpdateState {
    var part = self
    part.prefix = "\(prefix)\(name)."
    return part
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
    source.scalar(prefix + name, value)
  }

  /// A number that changes from step to step, of the parameter's element type.
  func number(
    _ name: String, _ value: @escaping @Sendable (UpdateTime) -> Double
  ) -> Tensor { scalar(name, value).cast(to: type.dtype) }

  /// A setting: a constant of the loop where it never changes, else a number of each step.
  func setting(_ name: String, _ schedule: Schedule, like tensor: Tensor) -> Tensor {
    if let constant = schedule.constant { return tensor.scalar(constant) }
    return number(name) { schedule.value(at: $0.step) }
  }

  /// The learning rate.
  func rate(_ schedule: Schedule) -> Tensor { number("rate") { schedule.value(at: $0.step) } }

  /// The gradient and λ times the parameter: weight decay as an L2 penalty has it.
  func penalized(_ gradient: Tensor, _ p: Tensor, by decay: Schedule) -> Tensor {
    decay.isZero ? gradient : gradient + p * setting("weight_decay", decay, like: p)
  }

  /// What a parameter is multiplied by before its step, 1 - ηλ, times it: decoupled weight decay.
  func shrunk(_ p: Tensor, by decay: Schedule, _ rate: Schedule) -> Tensor {
    shrinkage(by: decay, rate).map { p * $0 } ?? p
  }

  /// That factor, 1 - ηλ; nil where nothing shrinks.
  func shrinkage(by decay: Schedule, _ rate: Schedule) -> Tensor? {
    guard !decay.isZero else { return nil }
    return number("shrinkage") { 1 - rate.value(at: $0.step) * decay.value(at: $0.step) }
  }

  /// The moving mean `β·slot + (1-β)·value`, kept in the slot.
  mutating func mean(_ slot: String, of value: Tensor, _ beta: Schedule, named name: String)
    -> Tensor
  {
    let kept = setting(name, beta, like: value)
    let share = setting("\(name)_share", beta.map { 1 - $0 }, like: value)
    let new = self[slot] * kept + value * share
    self[slot] = new
    return new
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

/// Throws where a setting makes no sense: a part of it is negative or no number, or it never changes and is not in
/// `range`.
func require(
  _ name: String, _ schedule: Schedule, in range: Range<Double> = 0..<Double.infinity,
  of type: String
) throws {
  if let mistake = schedule.mistake {
    throw ApusError(
      .invalidArgument, "\(type): \(name): \(mistake)",
      expected: "finite numbers from 0 on and at least one step")
  }
  if let constant = schedule.constant { try require(name, constant, in: range, of: type) }
}

/// The settings that most rules have.
func require(
  epsilon: Double, weightDecay: Schedule, beta1: Schedule = 0, beta2: Schedule = 0, of type: String
) throws {
  try require("beta1", beta1, in: 0..<1, of: type)
  try require("beta2", beta2, in: 0..<1, of: type)
  try require("epsilon", epsilon, in: 0..<Double.infinity, of: type)
  try require("weightDecay", weightDecay, of: type)
}
