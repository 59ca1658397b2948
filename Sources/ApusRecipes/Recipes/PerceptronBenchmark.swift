// mlp_tiny, mlp_small, mlp_large, mlp_wide: perceptrons whose steps are timed. Benchmarks/peers/train.py has
// the same.

import Apus

/// A perceptron on random data.
struct PerceptronBenchmark: ModelRecipe {
  let name: String
  let summary: String
  /// Of one example, in one row, as the peers have it.
  let features: Int
  let hidden: [(name: String, units: Int)]
  let classes: Int
  let batch: Int
  let update: BenchmarkUpdate

  /// What calling a step costs: its products take less time than that.
  static let tiny = PerceptronBenchmark(
    name: "mlp_tiny", summary: "4-64-64-2 perceptron, one example, Adam", features: 4,
    hidden: [("first", 64), ("second", 64)], classes: 2, batch: 1, update: .adam)
  static let small = PerceptronBenchmark(
    name: "mlp_small", summary: "784-128-10 perceptron, SGD with momentum", features: 784,
    hidden: [("hidden", 128)], classes: 10, batch: 64, update: .momentum)
  static let large = PerceptronBenchmark(
    name: "mlp_large", summary: "784-1024-1024-10 perceptron, Adam", features: 784,
    hidden: [("first", 1024), ("second", 1024)], classes: 10, batch: 256, update: .adam)
  static let wide = PerceptronBenchmark(
    name: "mlp_wide", summary: "2048-2048-2048-2048 perceptron, Adam", features: 2048,
    hidden: [("first", 2048), ("second", 2048)], classes: 2048, batch: 512, update: .adam)

  let discussion = """
    A benchmark's: random data, and a rate so small that thousands of steps on one batch do not run into \
    gradients of zero. PyTorch and JAX have the same.
    """

  var options: [any OptionDeclaration] {
    [
      CommonOption.batch.with(default: batch),
      CommonOption.learningRate.with(default: update.learningRate), CommonOption.seed,
    ]
  }

  func model(_ options: RecipeOptions) -> Perceptron {
    Perceptron(features, hidden: hidden, classes: classes)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    update.optimizer(options.learningRate)
  }

  func loss(_ model: Perceptron, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.images), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("images", [options.batch, features], .normal),
      RandomField("labels", [options.batch], .integers(below: classes)),
    ]
  }
}
