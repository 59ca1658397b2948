// fashion-mnist-multitask: one backbone with three heads: class, kind, and which way up the image is.

import Apus
import Foundation

/// A residual network that tells of clothes their class and their kind, and of turned images by how much.
struct FashionMNISTMultitaskRecipe: SupervisedRecipe {
  let name = "fashion-mnist-multitask"
  let summary = "residual network with heads for three tasks"
  let discussion = """
    A residual network of eight layers with three heads (data: Debian's package dataset-fashion-mnist). One tells \
    the class of 60000 images of clothes, one their kind (tops, trousers, dresses, shoes, bags), and one by how many quarter \
    turns a copy of the image has been turned: labels that nobody had to write. The three losses are added with \
    weights, and all three are judged on 10000 other images.
    """
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)
  let otherMetrics = [
    RecipeMetric("kind_accuracy", isFraction: true, goal: .larger),
    RecipeMetric("turn_accuracy", isFraction: true, goal: .larger),
  ]

  static let kindWeight = RecipeOption(
    "kind-weight", default: 0.3, .between(0, 1000), "Weight of the kind's loss.")
  static let turnWeight = RecipeOption(
    "turn-weight", default: 0.5, .between(0, 1000), "Weight of the rotation's loss.")

  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 3), CommonOption.batch.with(default: 128),
    CommonOption.learningRate.with(default: 3e-3), CommonOption.seed, CommonOption.data,
    kindWeight, turnWeight,
  ]

  /// One backbone, whose own head tells the class, and two heads beside it.
  struct Network: Module, Sendable {
    let body = ResNet.cifar(blocks: 1, channels: 1)
    let kind = Linear(64, 5)
    let turn = Linear(64, 4)
    /// Of the losses besides the class's.
    let weights: (kind: Double, turn: Double)
  }

  /// The kind of each class: tops, trousers, dresses, shoes, bags.
  static let kinds: [Int32] = [0, 1, 0, 2, 0, 3, 0, 3, 4, 3]

  func model(_ options: RecipeOptions) -> Network {
    Network(weights: (options[Self.kindWeight], options[Self.turnWeight]))
  }

  /// The rate rises at first and then falls to two fifths every epoch, whatever their number.
  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    let rate = options.learningRate
    let falling = stepsPerEpoch.map {
      LearningRate.exponential(from: rate, factor: pow(0.4, 1 / Double($0)))
    }
    return Adam(
      learningRate: falling.map { .warmUp(steps: 50, then: $0) }
        ?? .warmUp(steps: 5, then: .constant(rate)))
  }

  func loss(_ model: Network, _ batch: SymbolicBatch) -> Tensor {
    let (images, labels) = (batch.images, batch.labels)
    let (turned, turns) = images.turnedByQuarters()
    // One pass for both, so that normalisations see both.
    let features = model.body.features(concat([images, turned], axis: 0))
    let count = images.shape[0]
    let upright = features.sliced(axis: 0, from: 0, to: count)
    let rotated = features.sliced(axis: 0, from: count, to: 2 * count)
    let (classes, kind, turn) = (model.body.head(upright), model.kind(upright), model.turn(rotated))
    let kinds = images.trace.constant(NDArray(Self.kinds, shape: [Self.kinds.count])).take(labels)
    batch.report("accuracy", accuracy(classes, labels))
    batch.report("kind_accuracy", accuracy(kind, kinds))
    batch.report("turn_accuracy", accuracy(turn, turns))
    return crossEntropy(classes, labels) + crossEntropy(kind, kinds) * model.weights.kind
      + crossEntropy(turn, turns) * model.weights.turn
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    RandomField.fashionMNIST(options.batch)
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let data = try FashionMNIST(
      folder: options.data, scale: .normalized(mean: 0.2860, deviation: 0.3530))
    return RecipeData(
      training: try data.train.batched(options.batch), validation: try data.test.batched(1000))
  }
}

extension Tensor {
  /// Square images `[n, h, h, c]`, each turned by none to three quarters, and how many: `i32[n]`. At random in
  /// training; in evaluation the first by none, the second by one, and so on.
  ///
  /// Gidaris, Singh & Komodakis 2018, "Unsupervised representation learning by predicting image rotations".
  func turnedByQuarters() -> (images: Tensor, turns: Tensor) {
    let count = shape[0]
    let turns =
      trace.mode == .training
      ? Tensor.randomUniform([count], in: 0..<4).cast(to: .i32)
      : trace.constant(NDArray((0..<count).map { Int32($0 % 4) }, shape: [count]))
    let quarter = transposed([0, 2, 1, 3]).flipped(axis: 1)
    let half = flipped(axis: 1).flipped(axis: 2)
    let threeQuarters = transposed([0, 2, 1, 3]).flipped(axis: 2)
    let wide = turns.reshaped([-1, 1, 1, 1])
    let images = [quarter, half, threeQuarters].enumerated().reduce(self) { images, turn in
      `where`(wide .== Double(turn.offset + 1), turn.element, images)
    }
    return (images, turns)
  }
}
