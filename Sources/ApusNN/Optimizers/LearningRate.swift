// Learning-rate schedules.

import Foundation

/// The learning rate as a function of the step, from 0 on. A plain number is a constant rate, and any
/// function is a schedule; nothing is recompiled when it changes.
///
///     Adam(learningRate: 1e-3)
///     Adam(learningRate: .warmUp(steps: 100, then: .cosine(from: 3e-4, steps: 2000)))
///     Adam(learningRate: .schedule { step in 1e-3 / Double(1 + step / 1000) })
public struct LearningRate: Sendable, ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral,
  CustomStringConvertible
{
  /// What a checkpoint and an error call it.
  public let description: String
  private let rate: @Sendable (Int) -> Double
  /// What makes no sense about it, as an error message; nil where all is well.
  let mistake: String?

  private init(
    _ description: String, mistake: String?, _ rate: @escaping @Sendable (Int) -> Double
  ) {
    self.description = description
    self.mistake = mistake
    self.rate = rate
  }

  public init(floatLiteral value: Double) { self = .constant(value) }
  public init(integerLiteral value: Int) { self = .constant(Double(value)) }

  /// The rate at a step.
  public func value(at step: Int) -> Double { rate(step) }

  /// A schedule of your own: the rate at each step, asked for once a step.
  ///
  /// The function may read what your program changes between steps, such as a rate that falls when the
  /// validation loss does not.
  public static func schedule(
    _ description: String = "schedule", _ rate: @escaping @Sendable (Int) -> Double
  ) -> LearningRate { LearningRate(description, mistake: nil, rate) }

  /// The same rate at every step.
  public static func constant(_ value: Double) -> LearningRate {
    LearningRate("\(value)", mistake: mistake(value)) { _ in value }
  }

  /// From `from` down to `to` along half a cosine over `steps`, then `to`: Loshchilov & Hutter 2017.
  public static func cosine(from: Double, to: Double = 0, steps: Int) -> LearningRate {
    LearningRate(
      "cosine(from: \(from), to: \(to), steps: \(steps))",
      mistake: mistake(from, to, steps: steps)
    ) { step in
      let progress = min(Double(step) / Double(max(steps, 1)), 1)
      return to + (from - to) * (1 + cos(.pi * progress)) / 2
    }
  }

  /// `from`, multiplied by `factor` after every `every` steps.
  public static func step(from: Double, factor: Double = 0.1, every: Int) -> LearningRate {
    LearningRate(
      "step(from: \(from), factor: \(factor), every: \(every))",
      mistake: mistake(from, factor)
        ?? (every < 1 ? "a schedule that steps every \(every)" : nil)
    ) { from * pow(factor, Double($0 / max(every, 1))) }
  }

  /// In a straight line from `from` to `to` over `steps`, then `to`.
  public static func linear(from: Double, to: Double, steps: Int) -> LearningRate {
    LearningRate(
      "linear(from: \(from), to: \(to), steps: \(steps))", mistake: mistake(from, to, steps: steps)
    ) { from + (to - from) * min(Double($0) / Double(max(steps, 1)), 1) }
  }

  /// `from · factor^step`.
  public static func exponential(from: Double, factor: Double) -> LearningRate {
    LearningRate("exponential(from: \(from), factor: \(factor))", mistake: mistake(from, factor)) {
      from * pow(factor, Double($0))
    }
  }

  /// In a straight line from 0 (not included) up to the first rate of `then` over `steps`, then `then`
  /// from its step 0 on.
  public static func warmUp(steps: Int, then: LearningRate) -> LearningRate {
    LearningRate(
      "warmUp(steps: \(steps), then: \(then))",
      mistake: steps < 0 ? "a warm-up of \(steps) steps" : then.mistake
    ) { step in
      let count = max(steps, 0)
      return step < count
        ? then.value(at: 0) * (Double(step) + 1) / Double(count) : then.value(at: step - count)
    }
  }

  private static func mistake(_ values: Double..., steps: Int? = nil) -> String? {
    if let bad = values.first(where: { !$0.isFinite || $0 < 0 }) {
      return "the learning rate \(bad) is not a finite number ≥ 0"
    }
    return steps.flatMap { $0 < 1 ? "a schedule of \($0) steps" : nil }
  }
}
