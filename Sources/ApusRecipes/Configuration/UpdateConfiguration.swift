// How a run learns, as a configuration says it: optimiser, schedule, groups, clipping, moving average.

import Apus

/// Everything about the update of a step.
struct UpdateConfiguration: Sendable {
  private let optimizer: OptimizerConfiguration
  private let schedule: ScheduleConfiguration
  private let groups: [(pattern: String, optimizer: OptimizerConfiguration)]
  /// Patterns of parameters that do not learn.
  let frozen: [String]
  private let clipNorm, clipValue: Double?
  private let nonFinite: NonFinitePolicy
  /// The batches that share an update.
  private let accumulated: Int
  private let movingAverage: Double?

  /// Whether it is another for another number of epochs.
  var dependsOnEpochs: Bool {
    schedule.dependsOnEpochs || optimizer.dependsOnEpochs
      || groups.contains { $0.optimizer.dependsOnEpochs }
  }

  /// - `run`: the file's reader.
  /// - Throws: what reading keys throws.
  init(_ run: ConfigurationReader) throws {
    let own = try run.group("optimizer")
    optimizer = try OptimizerConfiguration(own)
    schedule = try ScheduleConfiguration("schedule", of: run, isRate: true)
    (groups, frozen) = try Self.groups(run, own)
    clipNorm = try run.optional("clip_norm", .positive)
    clipValue = try run.optional("clip_value", .positive)
    if clipNorm != nil && clipValue != nil {
      throw ApusError(
        .invalidArgument, "clip_norm and clip_value are both there",
        at: run.place(of: "clip_value"),
        expected: "one of both")
    }
    let policies = NonFinitePolicy.allCases.map(\.rawValue)
    nonFinite =
      NonFinitePolicy(rawValue: try run.choice("non_finite", "raise", of: policies)) ?? .raise
    accumulated = try run.value("accumulate", 1, .between(1, 1 << 20))
    movingAverage = try run.optional("moving_average", .share)
  }

  /// Groups say what is otherwise: all else is the optimiser's.
  private static func groups(
    _ run: ConfigurationReader, _ own: ConfigurationReader
  ) throws -> (groups: [(pattern: String, optimizer: OptimizerConfiguration)], frozen: [String]) {
    guard let all = try run.optionalGroup("groups") else { return ([], []) }
    var groups: [(String, OptimizerConfiguration)] = []
    var frozen: [String] = []
    for member in all.node.members ?? [] {
      let reader = try ConfigurationReader(
        all.ask(member.key)?.named ?? .none(at: member.place), all.path(of: "'\(member.key)'"))
      if try reader.optional("frozen") ?? false {
        try reader.finish()
        frozen.append(member.key)
        all.note(member.key, .object([("frozen", true)]))
        continue
      }
      let given = (reader.node.members ?? []).filter { $0.key != "frozen" }
      let isOfOneName =
        given.allSatisfy { $0.key != "name" } || reader.node["name"]?.text == own.node["name"]?.text
      let inherited = isOfOneName ? own.node.members ?? [] : []
      let members =
        inherited.filter { old in !given.contains { $0.key == old.key } } + given
      let merged = try ConfigurationReader(
        ConfigurationNode(.map(members), at: reader.node.place), reader.path)
      groups.append((member.key, try OptimizerConfiguration(merged)))
      all.note(member.key, merged.resolved)
    }
    return (groups, frozen)
  }

  /// What a trainer is given.
  ///
  /// - `batches`: the run's length in batches.
  func update(_ batches: RunLength) -> RecipeUpdate {
    var run = batches
    run.stepsPerEpoch = (batches.stepsPerEpoch + accumulated - 1) / accumulated
    let plateau = schedule.plateauSettings?.callback(from: optimizer.rate)
    let base = schedule.schedule(scale: optimizer.rate, run, plateau: plateau)
    let own = optimizer.rate
    func shape(_ rate: Double) -> Schedule {
      rate == own
        ? base
        : plateau == nil
          ? schedule.schedule(scale: rate, run) : base.scaled(by: .constant(rate / own))
    }
    var update = RecipeUpdate(optimizer.optimizer(shape, run))
    update.groups = groups.map { ($0.pattern, $0.optimizer.optimizer(shape, run)) }
    update.clipNorm = clipNorm
    update.clipValue = clipValue
    update.nonFinite = nonFinite
    update.accumulated = accumulated
    update.movingAverage = movingAverage
    if let plateau { update.callbacks.append(plateau) }
    return update
  }
}

extension ConfigurationNode {
  /// A scalar as it is written.
  var text: String? { if case .scalar(let text, _) = content { text } else { nil } }
}
