// Learning-rate schedules.

import Foundation

/// The learning rate as a function of the step, from 0 on. A plain number is a constant rate.
///
///     Adam(learningRate: 1e-3)
///     Adam(learningRate: .warmUp(steps: 100, then: .cosine(from: 3e-4, steps: 2000)))
public indirect enum LearningRate: Sendable, Hashable, ExpressibleByFloatLiteral,
  ExpressibleByIntegerLiteral
{
  case constant(Double)
  /// From `from` down to `to` along half a cosine over `steps`, then `to`: Loshchilov & Hutter 2017.
  case cosine(from: Double, to: Double = 0, steps: Int)
  /// `from`, multiplied by `factor` after every `every` steps.
  case step(from: Double, factor: Double = 0.1, every: Int)
  /// In a straight line from `from` to `to` over `steps`, then `to`.
  case linear(from: Double, to: Double, steps: Int)
  /// `from · factor^step`.
  case exponential(from: Double, factor: Double)
  /// In a straight line from 0 (not included) up to the first rate of `then` over `steps`, then `then`
  /// from its step 0 on.
  case warmUp(steps: Int, then: LearningRate)

  public init(floatLiteral value: Double) { self = .constant(value) }
  public init(integerLiteral value: Int) { self = .constant(Double(value)) }

  /// The rate at a step.
  public func value(at step: Int) -> Double {
    switch self {
    case .constant(let rate): return rate
    case .cosine(let from, let to, let steps):
      let progress = min(Double(step) / Double(max(steps, 1)), 1)
      return to + (from - to) * (1 + cos(.pi * progress)) / 2
    case .step(let from, let factor, let every):
      return from * pow(factor, Double(step / max(every, 1)))
    case .linear(let from, let to, let steps):
      return from + (to - from) * min(Double(step) / Double(max(steps, 1)), 1)
    case .exponential(let from, let factor): return from * pow(factor, Double(step))
    case .warmUp(let steps, let then):
      if step < steps { return then.value(at: 0) * Double(step + 1) / Double(steps) }
      return then.value(at: step - steps)
    }
  }

  /// The rates and lengths that make no sense, as an error message; nil where all is well.
  var mistake: String? {
    func rate(_ values: Double...) -> String? {
      values.first { !$0.isFinite || $0 < 0 }.map {
        "the learning rate \($0) is not a finite number ≥ 0"
      }
    }
    switch self {
    case .constant(let value): return rate(value)
    case .cosine(let from, let to, let steps), .linear(let from, let to, let steps):
      return rate(from, to) ?? (steps < 1 ? "a schedule of \(steps) steps" : nil)
    case .step(let from, let factor, let every):
      return rate(from, factor) ?? (every < 1 ? "a schedule that steps every \(every)" : nil)
    case .exponential(let from, let factor): return rate(from, factor)
    case .warmUp(let steps, let then):
      return steps < 0 ? "a warm-up of \(steps) steps" : then.mistake
    }
  }
}
