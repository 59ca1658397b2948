// Schedules as a configuration says them: by name, with lengths in steps or epochs.

import Apus
import Foundation

/// How long a run is, which schedules that count epochs need.
struct RunLength: Sendable, Hashable {
  var stepsPerEpoch: Int
  var epochs: Int

  var steps: Int { stepsPerEpoch.multipliedReportingOverflow(by: epochs).partialValue }

  /// Of a number of epochs, whole or not.
  func steps(ofEpochs epochs: Double) -> Int {
    Int(min((epochs * Double(stepsPerEpoch)).rounded(), 0x1p40))
  }
}

/// A number that may change from step to step.
///
///     schedule: cosine                                            # over the whole run
///     schedule: { name: cosine, warm_up_epochs: 1, to: 0.01 }     # up in a line first
///     schedule:                                                   # one after the other
///       - { name: linear, from: 0, to: 1, steps: 500 }
///       - { name: step, every_epochs: 2, factor: 0.5 }
///
/// Numbers are multiples of a scale: of the optimiser's `rate`, or 1 where the schedule is that of another setting.
struct ScheduleConfiguration: Sendable {
  static let names = [
    "constant", "step", "multi_step", "linear", "exponential", "polynomial", "cosine",
    "cosine_restarts", "inverse_root", "one_cycle", "one_cycle_momentum",
  ]
  /// Of a rate alone.
  static let plateau = "reduce_on_plateau"

  /// Steps, epochs, or what is left of the run.
  enum Length: Sendable, Hashable {
    case steps(Int)
    case epochs(Double)
    case rest

    func steps(of run: RunLength, after start: Int) -> Int {
      switch self {
      case .steps(let count): count
      case .epochs(let epochs): run.steps(ofEpochs: epochs)
      case .rest: max(run.steps - start, 1)
      }
    }
  }

  /// One after the other.
  private var phases: [Phase]
  /// What looks at the loss, where the schedule does.
  private(set) var plateauSettings: PlateauSettings?
  /// Whether it is another for another number of epochs.
  var dependsOnEpochs: Bool {
    phases.contains { $0.length == .rest && $0.usesLength }
  }

  private struct Phase: Sendable {
    var warmUp: Length
    var length: Length
    /// Whether the shape reaches its end with its length.
    var usesLength: Bool
    var make: @Sendable (_ scale: Double, _ steps: Int, _ run: RunLength) -> Schedule
  }

  /// Always the scale itself.
  static var constant: ScheduleConfiguration {
    ScheduleConfiguration(
      phases: [
        Phase(warmUp: .steps(0), length: .rest, usesLength: false) { scale, _, _ in
          .constant(scale)
        }
      ])
  }

  private init(phases: [Phase]) { self.phases = phases }

  /// - `key`: of the schedule within `owner`; without it, constant.
  /// - `isRate`: whether the schedule may look at the loss.
  /// - Throws: what reading keys throws.
  init(_ key: String, of owner: ConfigurationReader, isRate: Bool) throws {
    guard let node = owner.ask(key) else {
      self = .constant
      return
    }
    if case .list(let nodes) = node.content {
      guard !nodes.isEmpty else {
        throw ApusError(
          .invalidArgument, "\(owner.path(of: key)) is an empty list", at: node.place,
          expected: "schedules, one after the other")
      }
      var resolved: [JSON] = []
      phases = try nodes.enumerated().map { place, node in
        let reader = try ConfigurationReader(node.named, "\(owner.path(of: key)).\(place)")
        let phase = try Self.phase(reader, Self.names)
        guard phase.length != .rest || place == nodes.count - 1 else {
          throw ApusError(
            .missing, "\(reader.path) has no length, and another schedule follows",
            at: reader.node.place, expected: "steps or epochs")
        }
        try reader.finish()
        resolved.append(reader.resolved)
        return phase
      }
      owner.note(key, .array(resolved))
      return
    }
    let reader = try owner.group(key)
    let all = Self.names + (isRate ? [Self.plateau] : [])
    if try reader.choice("name", "constant", of: all) == Self.plateau {
      plateauSettings = try PlateauSettings(reader)
      phases = [
        Phase(
          warmUp: try Self.warmUp(reader), length: .rest, usesLength: false
        ) { scale, _, _ in .constant(scale) }
      ]
    } else {
      phases = [try Self.phase(reader, Self.names)]
    }
    try reader.finish()
  }

  /// The schedule.
  ///
  /// - `plateau`: what looks at the loss, where that is configured: its rate takes the place of the scale.
  func schedule(
    scale: Double, _ run: RunLength, plateau: ReduceOnPlateau? = nil
  ) -> Schedule {
    if let plateau {
      let steps = phases[0].warmUp.steps(of: run, after: 0)
      return steps == 0
        ? plateau.rate : plateau.rate.scaled(by: .warmUp(steps: steps, then: .constant(1)))
    }
    var start = 0
    var starts: [Int] = []
    let schedules = phases.map { phase in
      starts.append(start)
      let warmUp = phase.warmUp.steps(of: run, after: start)
      let steps = phase.length.steps(of: run, after: start + warmUp)
      let shape = phase.make(scale, max(steps, 1), run)
      start += warmUp + steps
      return warmUp == 0 ? shape : .warmUp(steps: warmUp, then: shape)
    }
    return schedules.count == 1
      ? schedules[0] : .sequence(schedules, changingAt: Array(starts.dropFirst()))
  }

  // MARK: Reading

  private static func length(
    _ reader: ConfigurationReader, _ prefix: String = ""
  ) throws -> Length? {
    let (key, inEpochs) = prefix.isEmpty ? ("steps", "epochs") : (prefix, "\(prefix)_epochs")
    let most = 1 << 40
    let steps: Int? = try reader.optional(key, .between(prefix.isEmpty ? 1 : 0, most))
    let epochs: Double? = try reader.optional(
      inEpochs, OptionRange(description: "a number from 0 to 1000000") { (0...1e6).contains($0) })
    guard steps == nil || epochs == nil else {
      throw ApusError(
        .invalidArgument,
        "both \(reader.path(of: key)) and \(reader.path(of: inEpochs)) are there",
        at: reader.place(of: inEpochs), expected: "one of them")
    }
    return steps.map { .steps($0) } ?? epochs.map { .epochs($0) }
  }

  private static func warmUp(_ reader: ConfigurationReader) throws -> Length {
    try length(reader, "warm_up") ?? .steps(0)
  }

  private static func phase(_ reader: ConfigurationReader, _ names: [String]) throws -> Phase {
    let name = try reader.choice("name", "constant", of: names)
    let warmUp = try warmUp(reader)
    let length = try length(reader) ?? .rest
    let factors = OptionRange<Double>.factor
    func phase(
      _ usesLength: Bool = false,
      _ make: @escaping @Sendable (_ scale: Double, _ steps: Int, _ run: RunLength) -> Schedule
    ) -> Phase { Phase(warmUp: warmUp, length: length, usesLength: usesLength, make: make) }
    func annealing() throws -> Schedule.Annealing {
      let text = try reader.choice("annealing", "cosine", of: ["cosine", "linear"])
      return Schedule.Annealing(rawValue: text) ?? .cosine
    }
    func rise() throws -> Double {
      try reader.value(
        "rise", 0.3, OptionRange(description: "a number from 0 to 1") { (0...1).contains($0) })
    }
    switch name {
    case "step":
      let factor = try reader.value("factor", 0.1, factors)
      let every = try Self.length(reader, "every") ?? .epochs(1)
      return phase { scale, _, run in
        .step(from: scale, factor: factor, every: max(every.steps(of: run, after: 0), 1))
      }
    case "multi_step":
      let factor = try reader.value("factor", 0.1, factors)
      let steps: [Int]? = try reader.list("milestones", .atLeast(0))
      let epochs: [Double]? = try reader.list("milestone_epochs", factors)
      guard (steps == nil) != (epochs == nil) else {
        throw ApusError(
          .missing, "\(reader.path) has \(steps == nil ? "no" : "two lists of") milestones",
          at: reader.node.place, expected: "milestones, in steps, or milestone_epochs")
      }
      return phase { scale, _, run in
        .multiStep(
          from: scale,
          milestones: steps ?? (epochs ?? []).map { run.steps(ofEpochs: $0) }, factor: factor)
      }
    case "linear":
      let (from, to) = (
        try reader.value("from", 1.0, factors), try reader.value("to", 0.0, factors)
      )
      return phase(true) { scale, steps, _ in
        .linear(from: scale * from, to: scale * to, steps: steps)
      }
    case "exponential":
      let factor: Double = try reader.required("factor", factors)
      let isPerEpoch = try reader.choice("per", "epoch", of: ["epoch", "step"]) == "epoch"
      return phase { scale, _, run in
        .exponential(
          from: scale,
          factor: isPerEpoch ? pow(factor, 1 / Double(max(run.stepsPerEpoch, 1))) : factor)
      }
    case "polynomial":
      let to = try reader.value("to", 0.0, factors)
      let power = try reader.value("power", 1.0, factors)
      return phase(true) { scale, steps, _ in
        .polynomial(from: scale, to: scale * to, steps: steps, power: power)
      }
    case "cosine":
      let to = try reader.value("to", 0.0, factors)
      return phase(true) { scale, steps, _ in .cosine(from: scale, to: scale * to, steps: steps) }
    case "cosine_restarts":
      let to = try reader.value("to", 0.0, factors)
      let growth = try reader.value("growth", 1, .between(1, 1000))
      let first = try Self.length(reader, "first") ?? .epochs(1)
      return phase { scale, _, run in
        .cosineWithRestarts(
          from: scale, to: scale * to, steps: max(first.steps(of: run, after: 0), 1),
          growth: growth)
      }
    case "inverse_root":
      let rising: Int = try reader.required("rising", .between(1, 1 << 40))
      return phase { scale, _, _ in .inverseRoot(peak: scale, warmUp: rising) }
    case "one_cycle":
      let (rise, annealing) = (try rise(), try annealing())
      let divisor = try reader.value("divisor", 25.0, .positive)
      let final = try reader.value("final_divisor", 1e4, .positive)
      return phase(true) { scale, steps, _ in
        .oneCycle(
          peak: scale, steps: steps, rise: rise, divisor: divisor, finalDivisor: final,
          annealing: annealing)
      }
    case "one_cycle_momentum":
      let (rise, annealing) = (try rise(), try annealing())
      let base = try reader.value("base", 0.85, factors)
      let peak = try reader.value("peak", 0.95, factors)
      return phase(true) { scale, steps, _ in
        .oneCycleMomentum(
          base: scale * base, peak: scale * peak, steps: steps, rise: rise, annealing: annealing)
      }
    default:
      let value = try reader.value("value", 1.0, factors)
      return phase { scale, _, _ in .constant(scale * value) }
    }
  }
}

extension OptionRange<Double> {
  /// What a factor may be: finite, 0 or more.
  static var factor: OptionRange {
    OptionRange(description: "a finite number, 0 or more") { $0 >= 0 && $0.isFinite }
  }
  /// A number in 0..<1: a beta, a momentum.
  static var share: OptionRange {
    OptionRange(description: "a number from 0 up to 1, which is not one") { $0 >= 0 && $0 < 1 }
  }
}

/// A rate that falls once the loss, or a metric, does not become better.
struct PlateauSettings: Sendable {
  var metric: String
  var goal: EarlyStopping.Goal
  var factor: Double
  var patience: Int
  var threshold: ReduceOnPlateau.Threshold
  var cooldown: Int
  var least: Double

  init(_ reader: ConfigurationReader) throws {
    (metric, goal) = try reader.judgement()
    factor = try reader.value("factor", 0.1, .share)
    patience = try reader.value("patience", 10, .between(0, 1 << 20))
    let kind = try reader.choice("threshold_kind", "relative", of: ["relative", "absolute"])
    let margin = try reader.value("threshold", 1e-4, .factor)
    threshold = kind == "relative" ? .relative(margin) : .absolute(margin)
    cooldown = try reader.value("cooldown", 0, .between(0, 1 << 20))
    least = try reader.value("least", 0.0, .factor)
  }

  /// - `rate`: the first rate; `least` is a multiple of it, as all numbers of schedules are.
  func callback(from rate: Double) -> ReduceOnPlateau {
    ReduceOnPlateau(
      from: rate, on: metric, goal, factor: factor, patience: patience, threshold: threshold,
      cooldown: cooldown, least: least * rate)
  }
}

extension ConfigurationReader {
  /// What an epoch is judged by, and which way is better: `metric` and `goal`.
  func judgement() throws -> (metric: String, goal: EarlyStopping.Goal) {
    let metric = try value("metric", "loss")
    let usual = Self.risingMetrics.contains { metric.hasPrefix($0) } ? "larger" : "smaller"
    let goal = try choice("goal", usual, of: ["smaller", "larger"])
    return (metric, goal == "larger" ? .larger : .smaller)
  }

  /// Beginnings of the names of metrics that are better the larger they are.
  private static let risingMetrics = ["accuracy", "top"]
}
