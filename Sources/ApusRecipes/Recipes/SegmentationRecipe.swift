// fashion-mnist-segmentation: a class for each pixel of scenes of clothes.

import Apus
import Foundation

/// U-Net on scenes composed of Fashion-MNIST's items.
struct SegmentationRecipe: SupervisedRecipe {
  static let scenes = RecipeOption(
    "scenes", default: 6000, .between(1, 1 << 24), "Scenes of an epoch.")
  static let width = RecipeOption(
    "width", default: 16, .between(1, 256), "Channels of the network at full extents.")

  let name = "fashion-mnist-segmentation"
  let summary = "U-Net on scenes of clothes"
  let discussion = """
    A U-Net learns the class of each pixel of scenes of 64 x 64 pixels: one to four items of Fashion-MNIST \
    (Debian's package dataset-fashion-mnist) on a noisy ground, of different sizes, partly over each other. \
    It is judged by the intersection over union of each class on a thousand scenes of test items; \
    the mean is 67 % after six epochs.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 6), CommonOption.batch.with(default: 16),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, scenes,
    SceneData.testCount, width,
  ]
  let metric = RecipeMetric("pixel accuracy", isFraction: true, goal: .larger)

  func model(_ options: RecipeOptions) -> UNet {
    UNet(
      classes: SceneData.classes + 1, channels: 1, width: options[Self.width], depth: 3)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    Adam(learningRate: .falling(from: options.learningRate, by: 0.7, an: stepsPerEpoch))
  }

  /// Cross-entropy, and Dice's loss: in it a class of few pixels counts as much as the ground.
  func loss(_ model: UNet, _ batch: SymbolicBatch) -> Tensor {
    let logits = model(batch.images)
    batch.report(metric.name, accuracy(logits, batch.masks))
    return crossEntropy(logits, batch.masks) + diceLoss(logits, batch.masks)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("images", [options.batch, 64, 64, 1], .normal),
      RandomField("masks", [options.batch, 64, 64], .integers(below: SceneData.classes + 1)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let scenes = try SceneData(options, count: options[Self.scenes], .masks)
    return RecipeData(
      training: try scenes.training.batched(options.batch),
      validation: try scenes.test.batched(50))
  }

  /// The mean intersection over union, and that of each class that occurs.
  func judge(_ model: UNet, _ data: RecipeData, _ run: RecipeRun) throws -> [RecipeOutcome.Figure] {
    let classify = try Predictor(model, compile: run.compile) { $0($1).argmax(axis: -1) }
    var matrix = ConfusionMatrix(classes: SceneData.classes + 1)
    let batches = try data.validation.makeIterator(epoch: 0)
    while let batch = try batches.next() {
      guard let images = batch.images, let masks = batch.masks else { continue }
      try matrix.add(predictions: classify(images), labels: masks)
    }
    let names = ["ground"] + FashionMNIST.classNames
    let each = zip(names, matrix.intersectionOverUnion).compactMap { name, value in
      value.map { RecipeOutcome.Figure("IoU of \(name)", $0, isFraction: true) }
    }
    let mean = matrix.meanIntersectionOverUnion ?? .nan
    return [RecipeOutcome.Figure("mean IoU", mean, isFraction: true)] + each
  }
}

/// Scenes of clothes, on which boxes or masks are learnt.
struct SceneData {
  static let classes = FashionMNIST.classNames.count
  static let testCount = RecipeOption(
    "test-scenes", default: 1000, .between(1, 1 << 20), "Scenes of test items.", isSetting: false)

  /// Of training items; other ones for every seed of a run.
  let training: ComposedScenes
  /// Of test items, always the same.
  let test: ComposedScenes

  /// - `count`: scenes to learn from.
  init(_ options: RecipeOptions, count: Int, _ content: ComposedScenes.Content) throws {
    let data = try FashionMNIST(
      folder: options.data, scale: .normalized(mean: 0.2860, deviation: 0.3530))
    training = try ComposedScenes(
      data.train, count: count, contents: [content], seed: options.seed)
    test = try ComposedScenes(
      data.test, count: options[Self.testCount], contents: [content], seed: 0x7465_7374)
  }
}

extension LearningRate {
  /// A rate that rises through the first hundred steps and then falls by the same factor every epoch, whatever their
  /// number; without epochs, as in a benchmark, it stays.
  static func falling(
    from rate: Double, by factor: Double, an stepsPerEpoch: Int?
  ) -> LearningRate {
    guard let stepsPerEpoch else { return .constant(rate) }
    return .warmUp(
      steps: 100, then: .exponential(from: rate, factor: pow(factor, 1 / Double(stepsPerEpoch))))
  }
}
