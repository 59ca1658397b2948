// The beginning of a source of batches: for a short look at a recipe.

import Apus

/// The first batches of each epoch of a source.
struct FirstBatches: BatchSource {
  let source: any BatchSource
  let most: Int

  init(_ source: any BatchSource, _ most: Int) {
    self.source = source
    self.most = most
  }

  var batchCount: Int { min(most, source.batchCount) }
  /// Of whole batches, but for a source that is shorter.
  var exampleCount: Int {
    guard source.batchCount > most else { return source.exampleCount }
    return most * ((source.exampleCount + source.batchCount - 1) / source.batchCount)
  }
  var identity: String { "the first \(batchCount) batches of \(source.identity)" }

  func forTraining(seed: UInt64) -> any BatchSource {
    FirstBatches(source.forTraining(seed: seed), most)
  }

  func makeIterator(epoch: Int) throws -> any BatchIterator {
    try makeIterator(epoch: epoch, startingAt: 0)
  }

  func makeIterator(epoch: Int, startingAt batch: Int) throws -> any BatchIterator {
    Beginning(
      try source.makeIterator(epoch: epoch, startingAt: batch), left: max(most - batch, 0))
  }

  private final class Beginning: BatchIterator {
    private let iterator: any BatchIterator
    private var left: Int

    init(_ iterator: any BatchIterator, left: Int) {
      self.iterator = iterator
      self.left = left
    }

    func next() throws -> Batch? {
      guard left > 0 else { return nil }
      left -= 1
      return try iterator.next()
    }
  }
}

extension RecipeData {
  /// For a short look: so many steps of training, and a fifth as many batches to be judged by.
  func beginning(_ steps: Int) -> RecipeData {
    let judged = max(steps / 5, 1)
    return RecipeData(
      training: FirstBatches(training, steps), validation: FirstBatches(validation, judged),
      test: test.map { FirstBatches($0, judged) })
  }
}
