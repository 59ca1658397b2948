// fashion-mnist-cnn, fashion-mnist-resnet: convolutional networks that tell clothes apart.

import Apus
import Foundation

/// A convolutional network on 28 x 28 grey images of clothes in ten classes.
struct FashionMNISTImageRecipe<Model: ImageClassifier>: PicturedRecipe {
  let name: String
  let summary: String
  let discussion: String
  let epochs: Int
  let learningRate: Double
  /// What the rate falls to in an epoch.
  let decay: Double
  /// Whether images are mirrored and moved in training.
  let varies: Bool
  private let make: @Sendable () -> Model
  private let update: @Sendable (LearningRate) -> any Optimizer

  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)
  var classNames: [String] { FashionMNIST.classNames }

  var options: [any OptionDeclaration] {
    [
      CommonOption.epochs.with(default: epochs), CommonOption.batch.with(default: 128),
      CommonOption.learningRate.with(default: learningRate), CommonOption.seed, CommonOption.data,
    ]
  }

  func model(_ options: RecipeOptions) -> Model { make() }

  /// The rate rises through the first hundred steps and then falls by the same factor every epoch, whatever
  /// their number.
  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    let rate = options.learningRate
    let falling = stepsPerEpoch.map {
      LearningRate.exponential(from: rate, factor: pow(decay, 1 / Double($0)))
    }
    // Without epochs a few steps are taken: they shall tell more than the chance of images that vary.
    return update(
      falling.map { .warmUp(steps: 100, then: $0) } ?? .warmUp(steps: 5, then: .constant(rate)))
  }

  func loss(_ model: Model, _ batch: SymbolicBatch) -> Tensor {
    let images = batch.images
    guard varies else { return classificationLoss(model(images), batch) }
    return classificationLoss(model(images.mirroredAtRandom().movedAtRandom(by: 2)), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    RandomField.fashionMNIST(options.batch)
  }

  /// Pixels with the training set's mean and deviation taken away.
  func data(_ options: RecipeOptions) throws -> RecipeData {
    let data = try FashionMNIST(
      folder: options.data, scale: .normalized(mean: 0.2860, deviation: 0.3530))
    return RecipeData(
      training: try data.train.batched(options.batch),
      // No larger than in training: who limits its memory means all of the run.
      validation: try data.test.batched(min(1000, options.batch)))
  }
}

extension FashionMNISTImageRecipe<LeNet> {
  static var leNet: Self {
    Self(
      name: "fashion-mnist-cnn", summary: "LeNet on images of clothes",
      discussion: """
        A network of two convolutions and two linear layers learns to tell clothes apart: 60000 images in \
        ten classes (Debian's package dataset-fashion-mnist), judged by 10000 others. Adam, whose rate falls \
        by 20 % an epoch. 91.8 % are right after ten epochs.
        """, epochs: 10, learningRate: 1e-3, decay: 0.8, varies: false, make: { LeNet() },
      update: { Adam(learningRate: $0) })
  }
}

extension FashionMNISTImageRecipe<ResNet> {
  static var resNet: Self {
    Self(
      name: "fashion-mnist-resnet", summary: "residual network on images of clothes",
      discussion: """
        A residual network of 14 layers learns to tell clothes apart: 60000 images in ten classes (Debian's \
        package dataset-fashion-mnist), half of them mirrored and all moved by up to two pixels, judged \
        by 10000 others. SGD with momentum and weight decay, whose rate falls by 15 % an epoch. 94.2 % are \
        right after 25 epochs in mixed precision.
        """, epochs: 25, learningRate: 0.1, decay: 0.85, varies: true,
      make: { ResNet.cifar(blocks: 2, channels: 1) },
      update: { SGD(learningRate: $0, momentum: 0.9, weightDecay: 5e-4) })
  }
}

extension Tensor {
  /// Images `[n, h, w, c]`, each the other way round with a probability of a half; as they are in evaluation.
  func mirroredAtRandom() -> Tensor {
    guard trace.mode == .training, rank == 4 else { return self }
    return `where`(.randomBernoulli([shape[0], 1, 1, 1]), flipped(axis: 2), self)
  }

  /// Images `[n, h, w, c]`, each moved by up to `reach` pixels along both axes, with the pixels of its edge
  /// where nothing comes in; as they are in evaluation.
  func movedAtRandom(by reach: Int) -> Tensor {
    guard trace.mode == .training, rank == 4 else { return self }
    return (1...2).reduce(self) { images, axis in
      let sides = (0..<4).map { $0 == axis ? reach : 0 }
      let wide = images.padded(low: sides, high: sides, mode: .replicate)
      let draw = Tensor.randomUniform([shape[0], 1, 1, 1], in: 0..<Double(2 * reach + 1))
      func part(_ start: Int) -> Tensor {
        wide.sliced(axis: axis, from: start, to: start + shape[axis])
      }
      return (1...2 * reach).reduce(part(0)) { `where`(draw .>= Double($1), part($1), $0) }
    }
  }
}
