// The gradients of a recipe's loss against differences.

import Apus

extension SupervisedRecipe {
  /// Compares the gradients of the first weights with differences in double, on the first examples of the data.
  ///
  /// - `examples`: as many as that. Everything runs in plain loops, so that a large model takes its time.
  /// - Throws: as `checkGradients`: `invalidGraph` naming the worst parameter where one is off; what reading the data
  ///   throws.
  package func checkedGradients(
    _ options: RecipeOptions, examples: Int = 4
  ) throws -> ModelGradientCheck {
    guard let batch = try data(options).training.makeIterator(epoch: 0).next() else {
      throw ApusError(.invalidArgument, "the training data is empty", expected: "examples")
    }
    let model = try model(options)
    try model.initialize(seed: options.seed)
    let count = min(examples, batch.count)
    let few = Batch(
      names: batch.names, arrays: try batch.arrays.map { try $0.slice(axis: 0, 0..<count) })
    return try checkGradients(of: model, on: few, seed: options.seed, loss: loss)
  }
}
