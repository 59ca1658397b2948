// What a report of a run shows besides its curves, and the recipes that tell classes of images apart.

import Apus

/// What a trained model shows of itself, for a report.
package struct RunEvidence: Sendable {
  /// `Module.summary`.
  package var model: String
  /// Over the held-out data.
  package var confusion: ConfusionMatrix?
  package var classNames: [String] = []
  package var samples: [RunReport.Sample] = []

  package init(model: String) { self.model = model }
}

/// A recipe of a classifier of images: batches have `images` and `labels`.
package protocol ClassifierRecipe: SupervisedRecipe {
  /// What the classes are called.
  var classNames: [String] { get }
  /// A score for each class, `[n, classes]`.
  func scores(_ model: Model, _ images: Tensor) -> Tensor
}

extension ClassifierRecipe {
  /// The confusion matrix over the held-out data, the first images, and the first that the model gets wrong.
  ///
  /// - Throws: what reading the data, compiling and running throw.
  package func evidence(_ model: Model, _ data: RecipeData, _ run: RecipeRun) throws -> RunEvidence
  {
    try evidence(
      of: model, on: data.validation, classNames, compile: run.compile, scores: scores)
  }
}

extension SupervisedRecipe {
  /// What a classifier of images makes of held-out data: batches have `images` and `labels`.
  ///
  /// - `scores`: a score for each class, `[n, classes]`.
  func evidence(
    of model: Model, on held: any BatchSource, _ classNames: [String], compile: CompileOptions,
    scores: @escaping (Model, Tensor) -> Tensor
  ) throws -> RunEvidence {
    let classify = try Predictor(model, compile: compile) { model, images in
      scores(model, images).argmax(axis: -1)
    }
    var evidence = RunEvidence(model: model.summary)
    evidence.classNames = classNames
    var matrix = ConfusionMatrix(classes: classNames.count)
    var right: [RunReport.Sample] = [], wrong: [RunReport.Sample] = []
    let iterator = try held.makeIterator(epoch: 0)
    while let batch = try iterator.next() {
      guard let images = batch.images, let labels = batch.labels else {
        throw ApusError(
          .missing, "the data of \(name) has no images", expected: "batches of images and labels")
      }
      let predictions = try classify(images)
      try matrix.add(predictions: predictions, labels: labels)
      guard right.count < 24 || wrong.count < 24 else { continue }
      for (place, (label, said)) in zip(labels.integers, predictions.integers).enumerated() {
        let isRight = label == said
        guard isRight ? right.count < 24 : wrong.count < 24 else { continue }
        let names = [label, said].map { classNames.indices.contains($0) ? classNames[$0] : "\($0)" }
        let sample = RunReport.Sample(
          try Picture(images[place], scale: .wholeArray),
          isRight ? names[0] : "\(names[0]), taken for \(names[1])", isRight: isRight)
        if isRight { right.append(sample) } else { wrong.append(sample) }
      }
    }
    evidence.confusion = matrix
    evidence.samples = right + wrong
    return evidence
  }
}
