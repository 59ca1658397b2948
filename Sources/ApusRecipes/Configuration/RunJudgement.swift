// What a configured run is worth on its held-out data: figures over all examples, whatever the size of batches.

import Apus

/// The figures of a model on data.
package struct RunJudgement: Sendable {
  package var examples: Int
  /// In the order in which they are told.
  package var figures: [RecipeOutcome.Figure]
  /// Of each class, where there are classes.
  package var classes: [ClassFigures] = []
  package var matrix: ConfusionMatrix?

  /// The figures of one class; those without a meaning are nil.
  package struct ClassFigures: Sendable {
    package var name: String
    package var examples: Int
    package var precision: Double?
    package var recall: Double?
    package var f1: Double?
  }
}

extension ConfiguredRun {
  /// Judges the run's model on what its data holds out: the test, or where there is none the validation.
  ///
  /// - `weights`: another file than the run's own.
  /// - Throws: what reading files, compiling and running throw.
  package func judged(
    weights: String? = nil, compile: CompileOptions
  ) throws -> RunJudgement {
    let compile = configuration.compileOptions(compile)
    if let recipe = recipe as? ConfiguredRecipe {
      return try judged(recipe, model(weights), compile)
    }
    guard let recipe = recipe as? any SupervisedRecipe else {
      throw ApusError(
        .unsupported, "\(recipe.name) has a loop of its own, and no figures beside it", at: folder,
        expected: "the run of a recipe of one model and one loss")
    }
    return try judged(recipe, weights, compile)
  }

  private func judged<Recipe: SupervisedRecipe>(
    _ recipe: Recipe, _ weights: String?, _ compile: CompileOptions
  ) throws -> RunJudgement {
    let model = try recipe.model(options)
    try model.load(weights ?? files.weights)
    let data = try recipe.data(options)
    let judge = data.test ?? data.validation
    let result = try EvaluationStep(model, seed: options.seed, compile: compile, loss: recipe.loss)
      .run(over: judge)
    return RunJudgement(
      examples: judge.exampleCount,
      figures: RecipeOutcome.figures(result, [recipe.metric] + recipe.otherMetrics))
  }

  private func judged(
    _ recipe: ConfiguredRecipe, _ loaded: (model: ConfiguredModel, signature: ModelSignature),
    _ compile: CompileOptions
  ) throws -> RunJudgement {
    let data = try recipe.data(options)
    let source = data.test ?? data.validation
    let (model, signature) = loaded
    let result = try EvaluationStep(model, seed: options.seed, compile: compile, loss: recipe.loss)
      .run(over: source)
    var judgement = RunJudgement(
      examples: source.exampleCount,
      figures: RecipeOutcome.figures(result, [recipe.metric] + recipe.otherMetrics))
    let predict = try Predictor(model, compile: compile) { $0($1) }
    var counts = FigureCounts(recipe.lossConfiguration, signature)
    let iterator = try source.makeIterator(epoch: 0)
    while let batch = try iterator.next() {
      guard let x = batch[dynamicMember: recipe.dataConfiguration.inputField],
        let y = batch[dynamicMember: recipe.dataConfiguration.targetField]
      else {
        throw ApusError(
          .missing,
          "a batch of \(recipe.name) has the fields \(batch.names.joined(separator: ", "))",
          expected: "\(recipe.dataConfiguration.inputField) and "
            + recipe.dataConfiguration.targetField)
      }
      try counts.add(predict(x), y)
    }
    counts.tell(&judgement, signature)
    return judgement
  }
}

/// What is counted of predictions.
private struct FigureCounts {
  private var matrix: ConfusionMatrix?
  private var ranking: BinaryRanking?
  private var errors: RegressionErrors?
  private let isLogit: Bool

  init(_ loss: LossConfiguration, _ signature: ModelSignature) {
    isLogit = ["bce", "focal"].contains(loss.name)
    matrix = signature.classes.map { ConfusionMatrix(classes: $0) }
    if signature.classes == 2 || isLogit { ranking = BinaryRanking() }
    // What a Poisson loss is given is a logarithm.
    if signature.classes == nil, !isLogit, loss.name != "poisson" { errors = RegressionErrors() }
  }

  mutating func add(_ predictions: NDArray, _ targets: NDArray) throws {
    try matrix?.add(scores: predictions, labels: targets)
    try errors?.add(predictions: predictions, targets: targets)
    guard ranking != nil else { return }
    if isLogit {
      try ranking?.add(scores: predictions, labels: targets.cast(to: .i32))
    } else {
      // Of two logits their difference says how likely the second class is.
      let all = predictions.floats
      let scores = stride(from: 0, to: all.count, by: 2).map { all[$0 + 1] - all[$0] }
      try ranking?.add(
        scores: NDArray(checking: scores, shape: targets.shape), labels: targets)
    }
  }

  func tell(_ judgement: inout RunJudgement, _ signature: ModelSignature) {
    func add(_ name: String, _ value: Double?, isFraction: Bool = false) {
      guard let value else { return }
      judgement.figures.append(.init(name, value, isFraction: isFraction))
    }
    if let matrix {
      add("macro precision", matrix.precision(.macro), isFraction: true)
      add("macro recall", matrix.recall(.macro), isFraction: true)
      add("macro f1", matrix.f1(.macro), isFraction: true)
      add("weighted f1", matrix.f1(.weighted), isFraction: true)
      judgement.matrix = matrix
      judgement.classes = (0..<matrix.classes).map { label in
        RunJudgement.ClassFigures(
          name: signature.name(ofClass: label),
          examples: matrix.counts[label * matrix.classes..<(label + 1) * matrix.classes]
            .reduce(0, +),
          precision: matrix.precision[label], recall: matrix.recall[label], f1: matrix.f1[label])
      }
    }
    add("roc auc", ranking?.rocAUC)
    add("average precision", ranking?.averagePrecision)
    if !judgement.figures.contains(where: { $0.name == "test mae" }) {
      add("mae", errors?.meanAbsolute)
    }
    add("rmse", errors?.rootMeanSquare)
    add("r2", errors?.r2)
  }
}
