// The schedules that have names. Each is a function of the step alone, so that a run that is resumed needs
// nothing but the count of its steps. (The one that looks at the loss is `ReduceOnPlateau`.)

import Foundation

extension Schedule {
  // MARK: Steps

  /// `from`, multiplied by `factor` after every `every` steps: PyTorch's `StepLR`.
  public static func step(from: Double, factor: Double = 0.1, every: Int) -> Schedule {
    Schedule(
      "step(from: \(from), factor: \(factor), every: \(every))",
      mistake: mistake(from, factor)
        ?? (every < 1 ? "a schedule that steps every \(every)" : nil)
    ) { from * pow(factor, Double($0 / max(every, 1))) }
  }

  /// `from`, multiplied by `factor` at each of the steps `milestones`: PyTorch's `MultiStepLR`.
  ///
  ///     .multiStep(from: 0.1, milestones: [30_000, 60_000])
  ///
  /// - `milestones`: in any order, from 0 on; one that stands there twice counts twice.
  public static func multiStep(
    from: Double, milestones: [Int], factor: Double = 0.1
  ) -> Schedule {
    Schedule(
      "multiStep(from: \(from), milestones: \(milestones), factor: \(factor))",
      mistake: mistake(from, factor)
        ?? milestones.first { $0 < 0 }.map { "a milestone at step \($0)" }
    ) { step in from * pow(factor, Double(milestones.count { $0 <= step })) }
  }

  // MARK: Curves

  /// In a straight line from `from` to `to` over `steps`, then `to`: PyTorch's `LinearLR`.
  public static func linear(from: Double, to: Double, steps: Int) -> Schedule {
    Schedule(
      "linear(from: \(from), to: \(to), steps: \(steps))", mistake: mistake(from, to, steps: steps)
    ) { from + (to - from) * progress($0, steps) }
  }

  /// `from · factor^step`: PyTorch's `ExponentialLR`.
  public static func exponential(from: Double, factor: Double) -> Schedule {
    Schedule("exponential(from: \(from), factor: \(factor))", mistake: mistake(from, factor)) {
      from * pow(factor, Double($0))
    }
  }

  /// From `from` to `to` over `steps` as `(1 - step/steps)^power`, then `to`: PyTorch's `PolynomialLR`.
  public static func polynomial(
    from: Double, to: Double = 0, steps: Int, power: Double = 1
  ) -> Schedule {
    Schedule(
      "polynomial(from: \(from), to: \(to), steps: \(steps), power: \(power))",
      mistake: mistake(from, to, power, steps: steps)
    ) { to + (from - to) * pow(1 - progress($0, steps), power) }
  }

  /// From `from` down to `to` along half a cosine over `steps`, then `to`: Loshchilov & Hutter 2017, "SGDR".
  /// PyTorch's `CosineAnnealingLR`, which rises again afterwards.
  public static func cosine(from: Double, to: Double = 0, steps: Int) -> Schedule {
    Schedule(
      "cosine(from: \(from), to: \(to), steps: \(steps))",
      mistake: mistake(from, to, steps: steps)
    ) { cosine(from, to, progress($0, steps)) }
  }

  /// Half cosines from `from` down to `to`, one after the other, the first over `steps` and each `growth` times as long
  /// as the one before: PyTorch's `CosineAnnealingWarmRestarts`.
  ///
  /// - `growth`: 1 or more.
  public static func cosineWithRestarts(
    from: Double, to: Double = 0, steps: Int, growth: Int = 1
  ) -> Schedule {
    Schedule(
      "cosineWithRestarts(from: \(from), to: \(to), steps: \(steps), growth: \(growth))",
      mistake: mistake(from, to, steps: steps)
        ?? (growth < 1 ? "restarts that grow \(growth) times as long" : nil)
    ) { step in
      var (start, length) = (0, max(steps, 1))
      if growth <= 1 {
        start = step / length * length
      } else {
        // Fewer than 63 turns: the length doubles at least.
        while step - start >= length {
          start += length
          let (next, overflows) = length.multipliedReportingOverflow(by: growth)
          length = overflows ? .max : next
        }
      }
      return cosine(from, to, Double(step - start) / Double(length))
    }
  }

  // MARK: Warm-up

  /// In a straight line from 0 (not included) up to the first number of `then` over `steps`, then `then`
  /// from its step 0 on.
  public static func warmUp(steps: Int, then: Schedule) -> Schedule {
    Schedule(
      "warmUp(steps: \(steps), then: \(then))",
      mistake: steps < 0 ? "a warm-up of \(steps) steps" : then.mistake
    ) { step in
      let count = max(steps, 0)
      return step < count
        ? then.value(at: 0) * (Double(step) + 1) / Double(count) : then.value(at: step - count)
    }
  }

  /// Up to `peak` in a straight line over `warmUp` steps, then down as 1/√step: Vaswani et al. 2017,
  /// "Attention is all you need", whose peak is `1 / √(width · warmUp)`.
  ///
  ///     peak · min(t / warmUp, √(warmUp / t)),   t = step + 1
  public static func inverseRoot(peak: Double, warmUp: Int) -> Schedule {
    Schedule(
      "inverseRoot(peak: \(peak), warmUp: \(warmUp))", mistake: mistake(peak, steps: warmUp)
    ) { step in
      let (t, warm) = (Double(step) + 1, Double(max(warmUp, 1)))
      return peak * min(t / warm, (warm / t).squareRoot())
    }
  }

  /// How a cycle goes from one number to the next.
  public enum Annealing: String, Sendable, Hashable { case cosine, linear }

  /// One cycle over `steps`: from `peak / divisor` up to `peak`, then down to the first number over
  /// `finalDivisor`: Smith & Topin 2018, "Super-Convergence". PyTorch's `OneCycleLR`; what it does to the
  /// momentum is ``oneCycleMomentum(base:peak:steps:rise:annealing:)``. Afterwards it stays where it ended.
  ///
  /// - `steps`: of all training.
  /// - `rise`: the part of the steps that goes up, in 0…1.
  public static func oneCycle(
    peak: Double, steps: Int, rise: Double = 0.3, divisor: Double = 25,
    finalDivisor: Double = 1e4, annealing: Annealing = .cosine
  ) -> Schedule {
    let first = peak / divisor
    return Schedule(
      "oneCycle(peak: \(peak), steps: \(steps), rise: \(rise), divisor: \(divisor), "
        + "finalDivisor: \(finalDivisor), annealing: \(annealing))",
      mistake: mistake(peak, divisor, finalDivisor, steps: steps) ?? mistake(ofRise: rise)
        ?? (min(divisor, finalDivisor) > 0 ? nil : "a divisor of 0")
    ) { cycle(first, peak, first / finalDivisor, steps, rise, annealing, at: $0) }
  }

  /// The momentum that goes with ``oneCycle(peak:steps:rise:divisor:finalDivisor:annealing:)``: from
  /// `peak` down to `base` while the rate rises, then up again. Also for an Adam's `beta1`.
  ///
  ///     SGD(learningRate: .oneCycle(peak: 0.1, steps: n), momentum: .oneCycleMomentum(steps: n))
  public static func oneCycleMomentum(
    base: Double = 0.85, peak: Double = 0.95, steps: Int, rise: Double = 0.3,
    annealing: Annealing = .cosine
  ) -> Schedule {
    Schedule(
      "oneCycleMomentum(base: \(base), peak: \(peak), steps: \(steps), rise: \(rise), "
        + "annealing: \(annealing))",
      mistake: mistake(base, peak, steps: steps) ?? mistake(ofRise: rise)
    ) { cycle(peak, base, peak, steps, rise, annealing, at: $0) }
  }

  // MARK: Several

  /// Schedules one after the other, each from its own step 0 on: PyTorch's `SequentialLR`.
  ///
  ///     .sequence([.linear(from: 0, to: 1e-3, steps: 100), .constant(1e-3)], changingAt: [100])
  ///
  /// - `schedules`: at least one.
  /// - `milestones`: the steps at which the next one begins, ascending, one fewer than schedules.
  public static func sequence(_ schedules: [Schedule], changingAt milestones: [Int]) -> Schedule {
    let fault: String? =
      if schedules.count != milestones.count + 1 {
        "\(schedules.count) schedules that change at \(milestones.count) steps"
      } else if zip(milestones, milestones.dropFirst()).contains(where: { $0 >= $1 })
        || milestones.contains(where: { $0 < 0 })
      {
        "schedules that change at \(milestones)"
      } else {
        schedules.lazy.compactMap(\.mistake).first
      }
    let names = schedules.map(\.description).joined(separator: ", ")
    return Schedule("sequence([\(names)], changingAt: \(milestones))", mistake: fault) { step in
      guard fault == nil else { return .nan }
      let index = milestones.count { $0 <= step }
      return schedules[index].value(at: step - (index == 0 ? 0 : milestones[index - 1]))
    }
  }

  // MARK: Parts

  /// How far a step is in `steps`, in 0…1.
  private static func progress(_ step: Int, _ steps: Int) -> Double {
    min(max(Double(step), 0) / Double(max(steps, 1)), 1)
  }

  private static func cosine(_ from: Double, _ to: Double, _ progress: Double) -> Double {
    to + (from - to) * (1 + cos(.pi * progress)) / 2
  }

  private static func mistake(ofRise rise: Double) -> String? {
    (0...1).contains(rise) ? nil : "a rise over \(rise) of the steps"
  }

  /// From `first` to `middle` and on to `last`, with PyTorch's places of the turns: the middle is reached at step
  /// `rise · steps - 1`, the end at `steps - 1`.
  private static func cycle(
    _ first: Double, _ middle: Double, _ last: Double, _ steps: Int, _ rise: Double,
    _ annealing: Annealing, at step: Int
  ) -> Double {
    let (turn, end) = (rise * Double(steps) - 1, Double(steps) - 1)
    let place = min(Double(step), end)
    let isRising = place <= turn
    let (from, to) = isRising ? (first, middle) : (middle, last)
    let (start, length) = isRising ? (0, turn) : (max(turn, 0), end - max(turn, 0))
    let progress = length > 0 ? min(max((place - start) / length, 0), 1) : 1
    return annealing == .linear ? from + (to - from) * progress : cosine(from, to, progress)
  }
}
