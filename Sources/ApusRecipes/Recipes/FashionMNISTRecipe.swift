// fashion-mnist: a perceptron that tells clothes apart, the first demonstration.

import Apus
import Foundation

/// A perceptron with one hidden layer on 28 x 28 grey images of clothes in ten classes.
struct FashionMNISTRecipe: ClassifierRecipe {
  static let hidden = RecipeOption(
    "hidden", default: 128, .between(1, 1 << 16), "Units of the hidden layer.")

  let name = "fashion-mnist"
  let summary = "784-128-10 perceptron on images of clothes"
  let discussion = """
    A perceptron with one hidden layer learns to tell clothes apart: 60000 images in ten classes (Debian's \
    package dataset-fashion-mnist), judged by 10000 others. Adam, whose rate falls by 30 % an epoch. 87.6 % \
    are right after five epochs.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 5), CommonOption.batch,
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, hidden,
  ]
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

  var classNames: [String] { FashionMNIST.classNames }

  func model(_ options: RecipeOptions) -> Perceptron {
    Perceptron(784, hidden: [("hidden", options[Self.hidden])], classes: 10)
  }

  /// The rate falls smoothly, by the same factor every epoch whatever their number, so that a run that is
  /// resumed for more epochs goes on as if it had been asked for them at first.
  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    guard let stepsPerEpoch else { return Adam(learningRate: .constant(options.learningRate)) }
    return Adam(
      learningRate: .exponential(
        from: options.learningRate, factor: pow(0.7, 1 / Double(stepsPerEpoch))))
  }

  func loss(_ model: Perceptron, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.images), batch)
  }

  func scores(_ model: Perceptron, _ images: Tensor) -> Tensor { model(images) }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    RandomField.fashionMNIST(options.batch)
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let data = try FashionMNIST(folder: options.data)
    return RecipeData(
      training: try data.train.batched(options.batch), validation: try data.test.batched(1000))
  }
}
