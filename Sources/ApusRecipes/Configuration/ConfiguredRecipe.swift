// What a configuration describes, as recipes that the command trains.

import Apus
import Foundation
import Synchronization

/// A model of layers on data, all from a configuration.
struct ConfiguredRecipe: SupervisedRecipe {
  let configuration: RunConfiguration
  private let layers: [LayerConfiguration]
  let dataConfiguration: DataConfiguration
  let lossConfiguration: LossConfiguration
  private let data: Once

  let name: String
  let summary = "a model of a configuration"
  let discussion = "A list of layers, which learns from the data that its configuration names."
  let options: [any OptionDeclaration]

  init(
    _ configuration: RunConfiguration, _ layers: [LayerConfiguration], _ data: DataConfiguration,
    _ objective: LossConfiguration
  ) {
    self.configuration = configuration
    self.layers = layers
    dataConfiguration = data
    lossConfiguration = objective
    self.data = Once { try data.read(objective.kind) }
    name = configuration.name
    options = ConfigurationOption.all(configuration)
  }

  /// Data is read once, for the model's sizes and for its batches.
  private final class Once: Sendable {
    private let made = Mutex<ReadData?>(nil)
    private let make: @Sendable () throws -> ReadData

    init(_ make: @escaping @Sendable () throws -> ReadData) { self.make = make }

    func value() throws -> ReadData {
      try made.withLock { made in
        if let made { return made }
        let value = try make()
        made = value
        return value
      }
    }
  }

  var metric: RecipeMetric {
    lossConfiguration.metrics.first ?? RecipeMetric("loss", goal: .smaller)
  }
  var otherMetrics: [RecipeMetric] { Array(lossConfiguration.metrics.dropFirst()) }

  func signature() throws -> ModelSignature { try data.value().signature }

  func model(_ options: RecipeOptions) throws -> ConfiguredModel { try model(for: signature()) }

  /// The model for data of such a kind.
  ///
  /// - Throws: `shapeMismatch` with the layer's key and line where layers do not go together, or the last one does not give
  ///   what the loss wants.
  func model(for signature: ModelSignature) throws -> ConfiguredModel {
    let (layers, result) = try LayerConfiguration.layers(layers, for: signature.type(of: 2))
    let wanted = lossConfiguration.outputs(signature)
    guard result.shape == [2, wanted] else {
      throw ApusError(
        .shapeMismatch,
        "the model gives \(Shape(Array(result.shape.dimensions.dropFirst()))) for an example",
        at: configuration.resolved["model"].map { _ in "the last layer" },
        expected: "[\(wanted)]: "
          + (signature.classes == nil ? "numbers as the target has" : "a logit for each class"))
    }
    let model = ConfiguredModel(input: signature.scale, layers: Sequential(layers))
    for pattern in configuration.update?.frozen ?? [] { try model.freeze(pattern) }
    return model
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    update(options, stepsPerEpoch: stepsPerEpoch).optimizer
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    configuration.update(options, stepsPerEpoch, or: RecipeUpdate(Adam()))
  }

  func loss(_ model: ConfiguredModel, _ batch: SymbolicBatch) throws -> Tensor {
    let (x, y) = (dataConfiguration.inputField, dataConfiguration.targetField)
    return lossConfiguration(model, model(batch[x]), batch[y], batch)
  }

  /// Random ones do not need the data, but their shape does: what cannot be read has none.
  func fields(_ options: RecipeOptions) -> [RandomField] {
    guard let signature = try? signature() else { return [] }
    let count = options.batch
    let target: RandomField =
      signature.classes.map {
        RandomField(dataConfiguration.targetField, [count], .integers(below: $0))
      }
      ?? RandomField(
        dataConfiguration.targetField, [count, signature.targetWidth ?? 1], .normal)
    return [
      RandomField(dataConfiguration.inputField, Shape([count] + signature.input), .normal), target,
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let read = try data.value()
    guard let validation = read.validation else {
      throw ApusError(.missing, "nothing is held out", expected: "validation above 0, or a test")
    }
    return RecipeData(training: read.training, validation: validation, test: read.test)
  }
}

extension ConfiguredRecipe {
  /// The table of the layers; of images their confusion and examples too.
  func evidence(
    _ model: ConfiguredModel, _ data: RecipeData, _ run: RecipeRun
  ) throws -> RunEvidence {
    let signature = try signature()
    let table = try model.summary(for: [signature.type(of: 1)]) { [$0($1[0])] }
    guard let names = signature.classNames, signature.inputName == "images" else {
      return RunEvidence(model: "\(table)")
    }
    var evidence = try evidence(
      of: model, on: data.test ?? data.validation, names, compile: run.compile
    ) { $0($1) }
    evidence.model = "\(table)"
    return evidence
  }
}

extension DataConfiguration {
  var inputField: String { isOfImages ? "images" : "x" }
  var targetField: String { isOfImages ? "labels" : "y" }
}

/// A recipe of the command whose update, or end, a configuration says.
struct TunedRecipe<Base: SupervisedRecipe>: SupervisedRecipe {
  let base: Base
  let configuration: RunConfiguration

  var name: String { base.name }
  var summary: String { base.summary }
  var discussion: String { base.discussion }
  var metric: RecipeMetric { base.metric }
  var otherMetrics: [RecipeMetric] { base.otherMetrics }
  var options: [any OptionDeclaration] {
    base.options.filter { own in
      !ConfigurationOption.all(configuration).contains { $0.name == own.name }
    } + ConfigurationOption.all(configuration)
  }

  func model(_ options: RecipeOptions) throws -> Base.Model {
    let model = try base.model(options)
    for pattern in configuration.update?.frozen ?? [] { try model.freeze(pattern) }
    return model
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    update(options, stepsPerEpoch: stepsPerEpoch).optimizer
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    configuration.update(
      options, stepsPerEpoch, or: base.update(options, stepsPerEpoch: stepsPerEpoch))
  }

  func loss(_ model: Base.Model, _ batch: SymbolicBatch) throws -> Tensor {
    try base.loss(model, batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] { base.fields(options) }
  func data(_ options: RecipeOptions) throws -> RecipeData { try base.data(options) }

  func judge(
    _ model: Base.Model, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] { try base.judge(model, data, run) }

  func evidence(
    _ model: Base.Model, _ data: RecipeData, _ run: RecipeRun
  ) throws -> RunEvidence { try base.evidence(model, data, run) }
}

/// The options of a run that is configured.
enum ConfigurationOption {
  /// All that its bits depend on, as one text that checkpoints keep.
  static func all(_ configuration: RunConfiguration) -> [any OptionDeclaration] {
    [
      CommonOption.epochs.with(default: configuration.epochs),
      CommonOption.seed.with(default: configuration.seed),
      RecipeOption<String>(
        "configuration", default: configuration.fingerprint, .any, "All keys with their values.",
        setting: "apus.configuration"),
    ]
  }
}

extension RunConfiguration {
  /// The run as a recipe, with its options.
  package func recipe() throws -> (recipe: any TrainableRecipe, options: RecipeOptions) {
    switch subject {
    case .model(let layers, let data, let loss):
      let recipe = ConfiguredRecipe(self, layers, data, loss)
      return (recipe, recipe.defaults)
    case .recipe(let recipe, var options):
      if let supervised = recipe as? any SupervisedRecipe {
        return tuned(supervised, options)
      }
      try options.set(CommonOption.epochs.name, to: "\(epochs)")
      try options.set(CommonOption.seed.name, to: "\(seed)")
      return (recipe, options)
    }
  }

  private func tuned<Base: SupervisedRecipe>(
    _ base: Base, _ options: RecipeOptions
  ) -> (any TrainableRecipe, RecipeOptions) {
    let recipe = TunedRecipe(base: base, configuration: self)
    return (recipe, recipe.defaults.taking(options))
  }

  /// How a run learns: as the configuration says, or as the recipe does.
  func update(
    _ options: RecipeOptions, _ stepsPerEpoch: Int?, or own: @autoclosure () -> RecipeUpdate
  ) -> RecipeUpdate {
    // A step that is only looked at counts no epochs.
    let length = RunLength(stepsPerEpoch: max(stepsPerEpoch ?? 1000, 1), epochs: options.epochs)
    var result = update?.update(length) ?? own()
    if let stopping { result.callbacks.append(stopping.callback) }
    return result
  }

  /// What compiles its steps.
  ///
  /// - `options`: threads and level, which the bits do not depend on.
  package func compileOptions(_ options: CompileOptions) -> CompileOptions {
    var options = options
    options.precision = precision
    options.memoryLimit = memoryLimit
    return options
  }
}
