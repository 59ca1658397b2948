// lenet, resnet20: convolutional networks whose steps are timed. Benchmarks/peers/train.py has the same.

import Apus

/// A classifier of images on random data.
struct ImageBenchmark<Model: Layer>: ModelRecipe {
  let name: String
  let summary: String
  /// Height, width, channels.
  let image: (height: Int, width: Int, channels: Int)
  let update: BenchmarkUpdate
  private let make: @Sendable () -> Model

  private static var batch: Int { 128 }
  private static var classes: Int { 10 }

  let discussion = """
    A benchmark's: random images, channels last, and a rate so small that many steps on one batch do not run \
    into gradients of zero. PyTorch and JAX have the same.
    """

  var options: [any OptionDeclaration] {
    [
      CommonOption.batch.with(default: Self.batch),
      CommonOption.learningRate.with(default: update.learningRate), CommonOption.seed,
    ]
  }

  func model(_ options: RecipeOptions) -> Model { make() }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    update.optimizer(options.learningRate)
  }

  func loss(_ model: Model, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.images), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField(
        "images", [options.batch, image.height, image.width, image.channels], .normal),
      RandomField("labels", [options.batch], .integers(below: Self.classes)),
    ]
  }
}

extension ImageBenchmark<LeNet> {
  static var leNet: Self {
    Self(
      name: "lenet", summary: "LeNet on 28x28 images, Adam", image: (28, 28, 1), update: .adam,
      make: { LeNet() })
  }
}

extension ImageBenchmark<ResNet> {
  static var resNet20: Self {
    Self(
      name: "resnet20", summary: "ResNet-20 on 32x32 images, SGD with momentum",
      image: (32, 32, 3), update: .momentum, make: { ResNet.cifar(blocks: 3) })
  }
}
