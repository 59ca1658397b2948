// Optimisers as a configuration says them: by name, with all their settings.

import Apus

/// An update rule and its settings.
///
///     optimizer: adamw
///     optimizer: { name: sgd, rate: 0.1, momentum: 0.9, nesterov: true, weight_decay: 5e-4 }
///     optimizer: { name: sgd, rate: 0.1, momentum: { name: one_cycle_momentum } }
///
/// `rate` is a number, which the run's `schedule` shapes. Momentum, betas and decay are numbers or schedules of their own.
struct OptimizerConfiguration: Sendable {
  static let names = [
    "sgd", "adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta", "lion",
    "lamb", "adafactor", "muon",
  ]

  /// The schedule of a rate.
  typealias Shape = (_ rate: Double) -> Schedule

  let name: String
  let rate: Double
  /// Whether a setting is another for another number of epochs.
  let dependsOnEpochs: Bool
  private let make: @Sendable (_ shape: Shape, RunLength) -> any Optimizer

  /// - Throws: what reading keys throws; `invalidArgument` for settings that do not go together.
  init(_ reader: ConfigurationReader) throws {
    let name = try reader.choice("name", "adam", of: Self.names)
    self.name = name
    let rate = try reader.value("rate", Self.rates[name] ?? 1e-3, .positive)
    self.rate = rate
    var settings = Settings(reader)
    let spares = try reader.value("decay_matrices_only", false)
    let rule = try Self.rule(name, &settings)
    make = { shape, run in
      let optimizer = rule(shape, shape(rate), run)
      return spares ? Self.spared(optimizer) : optimizer
    }
    dependsOnEpochs = settings.dependsOnEpochs
    try reader.finish()
    do {
      let trial = RunLength(stepsPerEpoch: 100, epochs: 1)
      try optimizer({ .constant($0) }, trial).validate()
    } catch let error as ApusError { throw error.located(at: reader.node.place) }
  }

  /// The rule, for a run of that length.
  func optimizer(_ shape: Shape, _ run: RunLength) -> any Optimizer { make(shape, run) }

  private static let rates = [
    "sgd": 1e-2, "nadam": 2e-3, "adamax": 2e-3, "rmsprop": 1e-2, "adagrad": 1e-2, "adadelta": 1,
    "lion": 1e-4, "adafactor": 1e-2,
  ]

  private static func spared(_ optimizer: some DecayingOptimizer) -> any Optimizer {
    optimizer.decayingMatricesOnly()
  }

  private typealias Rule =
    @Sendable (_ shape: Shape, _ rate: Schedule, RunLength) -> any DecayingOptimizer

  /// Reads settings of an optimiser.
  private struct Settings {
    let reader: ConfigurationReader
    var dependsOnEpochs = false

    init(_ reader: ConfigurationReader) { self.reader = reader }

    /// A number, or a schedule of its own.
    mutating func scheduled(
      _ key: String, _ fallback: Double, _ range: OptionRange<Double> = .share
    ) throws -> @Sendable (RunLength) -> Schedule {
      if let node = reader.ask(key), case .scalar = node.content {
      } else if reader.ask(key) != nil {
        let schedule = try ScheduleConfiguration(key, of: reader, isRate: false)
        dependsOnEpochs = dependsOnEpochs || schedule.dependsOnEpochs
        return { schedule.schedule(scale: 1, $0) }
      }
      let value = try reader.value(key, fallback, range)
      return { _ in .constant(value) }
    }

    mutating func decay(_ fallback: Double) throws -> @Sendable (RunLength) -> Schedule {
      try scheduled("weight_decay", fallback, .factor)
    }

    func number(
      _ key: String, _ fallback: Double, _ range: OptionRange<Double> = .factor
    ) throws -> Double { try reader.value(key, fallback, range) }

    func flag(_ key: String, _ fallback: Bool = false) throws -> Bool {
      try reader.value(key, fallback)
    }
  }

  private static func rule(_ name: String, _ settings: inout Settings) throws -> Rule {
    switch name {
    case "sgd":
      let (momentum, decay) = (try settings.scheduled("momentum", 0), try settings.decay(0))
      let dampening = try settings.number("dampening", 0)
      let nesterov = try settings.flag("nesterov")
      return { _, rate, run in
        SGD(
          learningRate: rate, momentum: momentum(run), dampening: dampening, nesterov: nesterov,
          weightDecay: decay(run))
      }
    case "rmsprop":
      let alpha = try settings.scheduled("alpha", 0.99)
      let momentum = try settings.scheduled("momentum", 0)
      let (epsilon, decay) = (try settings.number("epsilon", 1e-8), try settings.decay(0))
      let centered = try settings.flag("centered")
      return { _, rate, run in
        RMSProp(
          learningRate: rate, alpha: alpha(run), epsilon: epsilon, weightDecay: decay(run),
          momentum: momentum(run), centered: centered)
      }
    case "adagrad":
      let rateDecay = try settings.number("rate_decay", 0)
      let initial = try settings.number("initial_accumulator", 0)
      let (epsilon, decay) = (try settings.number("epsilon", 1e-10), try settings.decay(0))
      return { _, rate, run in
        Adagrad(
          learningRate: rate, rateDecay: rateDecay, weightDecay: decay(run),
          initialAccumulator: initial, epsilon: epsilon)
      }
    case "adadelta":
      let rho = try settings.scheduled("rho", 0.9)
      let (epsilon, decay) = (try settings.number("epsilon", 1e-6), try settings.decay(0))
      return { _, rate, run in
        Adadelta(learningRate: rate, rho: rho(run), epsilon: epsilon, weightDecay: decay(run))
      }
    case "adafactor":
      let beta2Decay = try settings.number(
        "beta2_decay", -0.8,
        OptionRange(description: "a number below 0, above -1000") { $0 < 0 && $0 > -1000 })
      let epsilon: Double? = try settings.reader.optional("epsilon", .factor)
      let least = try settings.number("least_scale", 1e-3)
      let clipping = try settings.number(
        "clipping", 1, OptionRange(description: "a number, at least 1") { $0 >= 1 })
      let decay = try settings.decay(0)
      return { _, rate, run in
        Adafactor(
          learningRate: rate, beta2Decay: beta2Decay, epsilon: epsilon, leastScale: least,
          clipping: clipping, weightDecay: decay(run))
      }
    case "muon": return try muon(&settings)
    default: return try adaptive(name, &settings)
    }
  }

  /// Those with two betas.
  private static func adaptive(_ name: String, _ settings: inout Settings) throws -> Rule {
    let beta1 = try settings.scheduled("beta1", 0.9)
    let beta2 = try settings.scheduled("beta2", name == "lion" ? 0.99 : 0.999)
    let decay = try settings.decay(["adamw": 1e-2, "lion": 1e-3][name] ?? 0)
    if name == "lion" {
      return { _, rate, run in
        Lion(learningRate: rate, beta1: beta1(run), beta2: beta2(run), weightDecay: decay(run))
      }
    }
    let epsilon = try settings.number("epsilon", name == "lamb" ? 1e-6 : 1e-8)
    switch name {
    case "nadam":
      let momentumDecay = try settings.number("momentum_decay", 4e-3)
      let decoupled = try settings.flag("decoupled_weight_decay")
      return { _, rate, run in
        NAdam(
          learningRate: rate, beta1: beta1(run), beta2: beta2(run), epsilon: epsilon,
          weightDecay: decay(run), momentumDecay: momentumDecay, decoupledWeightDecay: decoupled)
      }
    case "radam":
      let decoupled = try settings.flag("decoupled_weight_decay")
      return { _, rate, run in
        RAdam(
          learningRate: rate, beta1: beta1(run), beta2: beta2(run), epsilon: epsilon,
          weightDecay: decay(run), decoupledWeightDecay: decoupled)
      }
    case "adamax":
      return { _, rate, run in
        Adamax(
          learningRate: rate, beta1: beta1(run), beta2: beta2(run), epsilon: epsilon,
          weightDecay: decay(run))
      }
    case "lamb":
      return { _, rate, run in
        LAMB(
          learningRate: rate, beta1: beta1(run), beta2: beta2(run), epsilon: epsilon,
          weightDecay: decay(run))
      }
    case "adamw":
      let amsgrad = try settings.flag("amsgrad")
      return { _, rate, run in
        AdamW(
          learningRate: rate, beta1: beta1(run), beta2: beta2(run), epsilon: epsilon,
          weightDecay: decay(run), amsgrad: amsgrad)
      }
    default:
      let amsgrad = try settings.flag("amsgrad")
      return { _, rate, run in
        Adam(
          learningRate: rate, beta1: beta1(run), beta2: beta2(run), epsilon: epsilon,
          weightDecay: decay(run), amsgrad: amsgrad)
      }
    }
  }

  /// Muon, with another rule for what is no matrix.
  private static func muon(_ settings: inout Settings) throws -> Rule {
    let (momentum, decay) = (try settings.scheduled("momentum", 0.95), try settings.decay(0.1))
    let nesterov = try settings.flag("nesterov", true)
    let iterations = try settings.reader.value("iterations", 5, .between(1, 99))
    let epsilon = try settings.number("epsilon", 1e-7)
    let adjustments: [(String, Muon.Adjustment)] = [
      ("original", .original), ("matching_adamw", .matchingAdamW),
    ]
    let adjustment = try settings.reader.choice(
      "adjustment", "original", of: adjustments.map(\.0))
    let chosen = adjustments.first { $0.0 == adjustment }?.1 ?? .original
    var node = settings.reader.ask("others")?.named ?? .none(at: settings.reader.node.place)
    if node["name"] == nil, let members = node.members {
      let name = ConfigurationNode(.scalar("adamw", isQuoted: true), at: node.place)
      node.content = .map(members + [.init("name", at: node.place, name)])
    }
    let reader = try ConfigurationReader(node, settings.reader.path(of: "others"))
    let others = try OptimizerConfiguration(reader)
    settings.reader.note("others", reader.resolved)
    settings.dependsOnEpochs = settings.dependsOnEpochs || others.dependsOnEpochs
    return { shape, rate, run in
      Muon(
        learningRate: rate, weightDecay: decay(run), momentum: momentum(run), nesterov: nesterov,
        epsilon: epsilon, iterations: iterations, adjustment: chosen,
        others: others.optimizer(shape, run))
    }
  }
}
