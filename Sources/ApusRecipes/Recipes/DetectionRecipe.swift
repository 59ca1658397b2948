// fashion-mnist-detection: boxes around the clothes of scenes, and what they are.

import Apus

/// A single-shot detector on scenes composed of Fashion-MNIST's items.
struct DetectionRecipe: SupervisedRecipe {
  static let scenes = RecipeOption(
    "scenes", default: 20000, .between(1, 1 << 24), "Scenes of an epoch.")
  static let width = RecipeOption(
    "width", default: 32, .between(1, 256), "Channels of the network after its first layer.")

  let name = "fashion-mnist-detection"
  let summary = "single-shot detector on scenes of clothes"
  let discussion = """
    A single-shot detector with anchors on two feature maps learns to find clothes in scenes of 64 x 64 pixels: \
    one to four items of Fashion-MNIST (Debian's package dataset-fashion-mnist) on a noisy ground, of different \
    sizes, partly over each other. It is judged by the mean average precision, as COCO and PASCAL VOC count it, on a \
    thousand scenes of test items: 70 % at an overlap of 0.5, and 57 % over those of 0.5 to 0.95, after five epochs.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 5), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, scenes,
    SceneData.testCount, width,
  ]
  let metric = RecipeMetric("box loss", goal: .smaller)

  /// Squares of 13 to 38 pixels, flat and tall ones; clothes of 28 pixels are scaled by 0.75 to 1.25.
  static func anchors() throws -> Anchors {
    try Anchors(
      [.init(stride: 8, sizes: [13, 18]), .init(stride: 16, sizes: [26, 34])], height: 64, width: 64
    )
  }

  func model(_ options: RecipeOptions) throws -> SingleShotDetector {
    SingleShotDetector(
      classes: SceneData.classes, anchors: try Self.anchors(), channels: 1,
      width: options[Self.width])
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.5, an: stepsPerEpoch),
      weightDecay: 1e-2)
  }

  func loss(_ model: SingleShotDetector, _ batch: SymbolicBatch) -> Tensor {
    let (classes, boxes) = detectionLoss(
      model(batch.images), classes: batch.classes, offsets: batch.offsets)
    batch.report(metric.name, boxes)
    return classes + boxes
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let count = (try? Self.anchors().count) ?? 0
    return [
      RandomField("images", [options.batch, 64, 64, 1], .normal),
      RandomField("offsets", [options.batch, count, 4], .normal),
      RandomField("classes", [options.batch, count], .integers(below: SceneData.classes + 1)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let scenes = try SceneData(options, count: options[Self.scenes], .boxes)
    func anchored(_ scenes: ComposedScenes) throws -> AnchoredDataset {
      try AnchoredDataset(scenes, anchors: Self.anchors(), classes: SceneData.classes)
    }
    return RecipeData(
      training: try anchored(scenes.training).batched(options.batch),
      validation: try anchored(scenes.test).batched(50))
  }

  /// The mean average precision by both rules, and by COCO's rule at an overlap of 0.5 of each class that
  /// occurs.
  func judge(
    _ model: SingleShotDetector, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let predict = try Predictor(model, compile: run.compile) { model, x in
      let found = model(x[0])
      return [found.logits, found.offsets]
    }
    var precision = try MeanAveragePrecision(classes: SceneData.classes)
    let scenes = try SceneData(run.options, count: 1, .boxes).test.batched(50)
    let batches = try scenes.makeIterator(epoch: 0)
    while let batch = try batches.next() {
      guard let images = batch.images, let boxes = batch.boxes, let labels = batch.labels else {
        continue
      }
      let arrays = try predict.run([images])
      for (image, found) in try model.detections(arrays[0], arrays[1]).enumerated() {
        let truth = try GroundTruth(
          boxes: boxes[image], labels: labels[image], classes: SceneData.classes)
        try precision.add(found, truth: truth)
      }
    }
    typealias Figure = RecipeOutcome.Figure
    let means = [
      Figure("mAP 0.5:0.95", precision.mean(.coco) ?? .nan, isFraction: true),
      Figure("mAP 0.5", precision.mean(.coco, iouThreshold: 0.5) ?? .nan, isFraction: true),
      Figure("VOC mAP 0.5", precision.mean(.voc, iouThreshold: 0.5) ?? .nan, isFraction: true),
    ]
    let each = FashionMNIST.classNames.enumerated().compactMap { label, name in
      precision.averagePrecision(of: label).map {
        Figure("AP 0.5 of \(name)", $0, isFraction: true)
      }
    }
    return means + each
  }
}
