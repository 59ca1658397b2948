// The contract of optimisers.

import ApusGraph
import ApusOps

/// An update rule. It is recorded into the graph of the training step, once for each parameter; what
/// changes from step to step (the learning rate, bias corrections) is computed on the host and comes in
/// as scalars, so that a schedule never recompiles.
public protocol Optimizer: Sendable {
  var learningRate: LearningRate { get }
  /// The names of the arrays, of each parameter's shape and zero at first, that the rule keeps.
  var slots: [String] { get }
  /// The names of the scalars that the rule reads.
  var scalarNames: [String] { get }
  /// The scalars' values at a step, from 0 on, in the order of `scalarNames`.
  func scalars(at step: Int) -> [Double]
  /// The new parameter and slots.
  ///
  /// - `parameter`: the old value; `gradient` and `slots` have its shape.
  /// - `scalars`: `f32[]`, in the order of `scalarNames`.
  func update(
    _ parameter: Tensor, gradient: Tensor, slots: [Tensor], scalars: [Tensor]
  ) -> (parameter: Tensor, slots: [Tensor])
  /// Throws `invalidArgument` for settings that make no sense.
  func validate() throws
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
