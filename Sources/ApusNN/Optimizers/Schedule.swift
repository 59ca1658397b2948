// Numbers that may change from step to step: learning rates, and momentum, decay and betas as well.

import Foundation

/// The learning rate, as a function of the step. Every ``Schedule`` is one.
public typealias LearningRate = Schedule

/// A setting of an optimiser as a function of the step, from 0 on. A plain number stays the same, and any
/// function is a schedule; nothing is recompiled when it changes.
///
///     Adam(learningRate: 1e-3)
///     Adam(learningRate: .warmUp(steps: 100, then: .cosine(from: 3e-4, steps: 2000)))
///     Adam(learningRate: .schedule { step in 1e-3 / Double(1 + step / 1000) })
///     let rate = LearningRate.oneCycle(peak: 0.1, steps: 5000)
///     SGD(learningRate: rate, momentum: .oneCycleMomentum(steps: 5000))
///     AdamW(learningRate: rate.scaled(by: 0.1))           // another group's
///
/// Steps are steps of training, not epochs: what PyTorch counts in epochs is times the batches of one.
public struct Schedule: Sendable, ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral,
  CustomStringConvertible
{
  /// What a checkpoint and an error call it.
  public let description: String
  /// The number, where it never changes.
  let constant: Double?
  /// What makes no sense about it, as an error message; nil where all is well.
  let mistake: String?
  private let number: @Sendable (Int) -> Double

  init(
    _ description: String, constant: Double? = nil, mistake: String?,
    _ number: @escaping @Sendable (Int) -> Double
  ) {
    self.description = description
    self.constant = constant
    self.mistake = mistake
    self.number = number
  }

  public init(floatLiteral value: Double) { self = .constant(value) }
  public init(integerLiteral value: Int) { self = .constant(Double(value)) }

  /// The number at a step.
  public func value(at step: Int) -> Double { number(step) }

  /// A schedule of your own: the number at each step, asked for once a step.
  ///
  /// The function may read what your program changes between steps.
  public static func schedule(
    _ description: String = "schedule", _ number: @escaping @Sendable (Int) -> Double
  ) -> Schedule { Schedule(description, mistake: nil, number) }

  /// The same number at every step.
  public static func constant(_ value: Double) -> Schedule {
    Schedule("\(value)", constant: value, mistake: mistake(value)) { _ in value }
  }

  // No operators: a type of literals that could be multiplied would slow the type checker in every expression of
  // numbers.

  /// This schedule times a number, or two schedules multiplied step by step: a smaller rate for one group; PyTorch's
  /// `ChainedScheduler`, one of the two as factors.
  ///
  ///     rate.scaled(by: 0.1)
  ///     .warmUp(steps: 10, then: 1e-3).scaled(by: .multiStep(from: 1, milestones: [30, 40]))
  public func scaled(by other: Schedule) -> Schedule {
    var constant: Double?
    if let x = self.constant, let y = other.constant { constant = x * y }
    return Schedule(
      "\(self) * \(other)", constant: constant, mistake: mistake ?? other.mistake
    ) { value(at: $0) * other.value(at: $0) }
  }

  /// What is made of the number, with constants staying constant.
  func map(_ transform: @escaping @Sendable (Double) -> Double) -> Schedule {
    Schedule(description, constant: constant.map(transform), mistake: mistake) {
      transform(value(at: $0))
    }
  }

  /// Whether it is 0 for ever.
  var isZero: Bool { constant == 0 }

  static func mistake(_ values: Double..., steps: Int? = nil) -> String? {
    if let bad = values.first(where: { !$0.isFinite || $0 < 0 }) {
      return "\(bad) is not a finite number ≥ 0"
    }
    return steps.flatMap { $0 < 1 ? "a schedule of \($0) steps" : nil }
  }
}
