// A run as a file describes it: the whole schema, from the top.

import Apus

/// A run of training that a configuration file describes.
///
///     var node = try ConfigurationNode(json: text, path: "run.json")
///     try node.set("optimizer.rate=3e-4")
///     let run = try RunConfiguration(node, name: "run")
///     run.resolved     // every key with its value: what makes the same run again
///
/// It describes either a model, as a list of layers with its data, or a recipe of the command by name.
package struct RunConfiguration: Sendable {
  /// Names the files of the run.
  package let name: String
  /// The folder that the run is written into.
  package let folder: String
  package let epochs: Int
  package let seed: UInt64
  package let precision: Precision
  /// Bytes for a step's intermediate values.
  package let memoryLimit: Int?
  /// Whether it is a short look.
  package let isQuick: Bool
  /// How often a checkpoint is written while training goes on; nil for never.
  package let checkpoint: Checkpointing.Interval?
  /// Which records of the run are kept; nil for none.
  package let records: RecordsConfiguration?
  /// All keys with their values.
  package let resolved: JSON
  let subject: Subject
  /// What is said of the update; nil where a recipe's own stands.
  let update: UpdateConfiguration?
  let stopping: StoppingConfiguration?

  /// What is trained.
  enum Subject: Sendable {
    case model(layers: [LayerConfiguration], DataConfiguration, LossConfiguration)
    case recipe(any TrainableRecipe, RecipeOptions)
  }

  /// - `name`: of the run, where the file gives none: that of the file.
  /// - Throws: `missing` for a key that is none, `invalidArgument` for a value that makes no sense, both with key, line and
  ///   column and what was expected.
  package init(_ node: ConfigurationNode, name: String) throws {
    let reader = try ConfigurationReader(node, "")
    self.name = try reader.value("name", name, .fileName)
    folder = try reader.value("folder", "runs/\(self.name)", .anyText)
    let layers = try reader.ask("model").map { try LayerConfiguration.list($0, "model") }
    let recipeName: String? = try reader.optional("recipe")
    guard (layers == nil) != (recipeName == nil) else {
      throw ApusError(
        .missing,
        layers == nil ? "neither a model nor a recipe is there" : "a model and a recipe are there",
        at: node.place, expected: "model, a list of layers, or recipe, a name")
    }
    var defaultEpochs = 10
    if let layers {
      reader.note("model", .array(layers.map(\.resolved)))
      let data = try DataConfiguration(reader.required(group: "data"))
      let loss = try LossConfiguration(
        reader, usual: data.isOfImages ? "cross_entropy" : nil)
      subject = .model(layers: layers, data, loss)
      update = try UpdateConfiguration(reader)
    } else {
      let (recipe, options) = try Self.recipe(recipeName!, reader)
      subject = .recipe(recipe, options)
      defaultEpochs = options.epochs
      update = try Self.tuning(recipe, reader)
    }
    epochs = try reader.value("epochs", defaultEpochs, .between(1, 1 << 20))
    seed = try reader.value("seed", 0)
    stopping = try reader.optionalGroup("early_stopping").map(StoppingConfiguration.init)
    checkpoint = try Self.checkpoint(reader)
    records = try RecordsConfiguration(reader.group("records"))
    let precisions = Precision.allCases.map(\.rawValue)
    precision =
      Precision(rawValue: try reader.choice("precision", "highest", of: precisions)) ?? .highest
    memoryLimit = try reader.optional("memory_limit", .between(1, 1 << 53))
    isQuick = try reader.value("quick", false)
    try reader.finish()
    resolved = reader.resolved
    if case .recipe(let recipe, _) = subject, stopping != nil, !(recipe is any SupervisedRecipe) {
      throw Self.ownLoop(recipe, "early_stopping", at: reader.place(of: "early_stopping"))
    }
  }

  private static func recipe(
    _ name: String, _ reader: ConfigurationReader
  ) throws -> (any TrainableRecipe, RecipeOptions) {
    let place = reader.place(of: "recipe")
    let all = recipes.trainable
    let known = try ConfigurationReader.named(name, of: all.map(\.name), "recipe", at: place)
    let recipe = all.first { $0.name == known }!
    reader.note("recipe", .string(known))
    let own = try reader.group("options")
    var options = recipe.defaults
    for declaration in recipe.options
    where ![CommonOption.epochs.name, CommonOption.seed.name].contains(declaration.name) {
      let key = declaration.name.replacing("-", with: "_")
      guard let text: String = try own.optional(key) else { continue }
      do { try options.set(declaration.name, to: text) } catch let error as ApusError {
        throw error.located(at: own.place(of: key))
      }
    }
    try own.finish()
    return (recipe, options)
  }

  /// What a file says otherwise of a recipe's update.
  private static func tuning(
    _ recipe: any TrainableRecipe, _ reader: ConfigurationReader
  ) throws -> UpdateConfiguration? {
    let keys = [
      "optimizer", "schedule", "groups", "clip_norm", "clip_value", "non_finite", "accumulate",
      "moving_average",
    ]
    guard let key = keys.first(where: { reader.ask($0) != nil }) else { return nil }
    guard recipe is any SupervisedRecipe else {
      throw ownLoop(recipe, key, at: reader.place(of: key))
    }
    guard reader.ask("optimizer") != nil else {
      throw ApusError(
        .missing, "\(key) is there, but optimizer is not", at: reader.place(of: key),
        expected: "an optimizer, which takes the place of the recipe's")
    }
    return try UpdateConfiguration(reader)
  }

  private static func ownLoop(
    _ recipe: any Recipe, _ key: String, at place: String
  ) -> ApusError {
    ApusError(
      .unsupported, "\(key) of \(recipe.name), whose loop is its own", at: place,
      expected: "a recipe of one model and one loss, or none of these keys")
  }

  private static func checkpoint(
    _ reader: ConfigurationReader
  ) throws -> Checkpointing.Interval? {
    guard let own = try reader.optionalGroup("checkpoint") else { return nil }
    let steps: Int? = try own.optional("every_steps", .between(1, 1 << 40))
    let epochs: Int? = try own.optional("every_epochs", .between(1, 1 << 20))
    let seconds: Int? = try own.optional("every_seconds", .between(1, 1 << 30))
    try own.finish()
    let all: [Checkpointing.Interval] = [
      steps.map { .steps($0) }, epochs.map { .epochs($0) },
      seconds.map { .time(.seconds($0)) },
    ].compactMap { $0 }
    guard all.count == 1 else {
      throw ApusError(
        .invalidArgument, "checkpoint says \(all.count) times how often", at: own.node.place,
        expected: "one of every_steps, every_epochs, every_seconds")
    }
    return all[0]
  }

  /// What determines the bits of the run besides its length, for checkpoints.
  var fingerprint: String {
    let length = update?.dependsOnEpochs == true ? [] : ["epochs"]
    let aside = ["name", "folder", "checkpoint", "records"] + length
    return JSON.object((resolved.members ?? []).filter { !aside.contains($0.0) }).text
  }
}

/// Which curves of a run are kept in its folder, for people and TensorBoard.
package struct RecordsConfiguration: Sendable {
  /// Steps between two points of a curve of steps.
  package let every: Int
  /// Epochs between two histograms of each parameter; nil for none.
  package let histogramsEvery: Int?

  /// Nil where none are kept.
  init?(_ reader: ConfigurationReader) throws {
    let isKept = try reader.value("keep", true)
    every = try reader.value("every", 10, .between(1, 1_000_000_000))
    histogramsEvery = try reader.optional("histograms_every", .between(1, 1_000_000_000))
    try reader.finish()
    if !isKept { return nil }
  }
}

/// Ends a run once its epochs do not become better.
struct StoppingConfiguration: Sendable {
  let metric: String
  let goal: EarlyStopping.Goal
  let patience: Int
  let delta: Double
  let restoresBest: Bool

  init(_ reader: ConfigurationReader) throws {
    (metric, goal) = try reader.judgement()
    patience = try reader.value("patience", 3, .between(1, 1 << 20))
    delta = try reader.value("delta", 0.0, .factor)
    restoresBest = try reader.value("restore_best", true)
    try reader.finish()
  }

  var callback: EarlyStopping {
    EarlyStopping(on: metric, goal, patience: patience, delta: delta, restoresBest: restoresBest)
  }
}

extension OptionRange<String> {
  /// A part of a file's name.
  static var fileName: OptionRange {
    OptionRange(description: "letters, digits, points, dashes and underscores") { text in
      !text.isEmpty && text.count <= 100 && text.first != "." && text.first != "-"
        && text.allSatisfy { $0.isLetter || $0.isNumber || ".-_".contains($0) }
    }
  }
  static var anyText: OptionRange {
    OptionRange(description: "a text that is not empty") { !$0.isEmpty }
  }
}

extension ConfigurationReader {
  /// A group that must be there.
  func required(group key: String) throws -> ConfigurationReader {
    if let reader = try optionalGroup(key) { return reader }
    throw ApusError(
      .missing, "\(path(of: key)) is not there", at: node.place, expected: "a group of keys")
  }
}
