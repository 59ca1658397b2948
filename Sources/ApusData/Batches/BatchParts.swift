// A process's parts of batches that several processes train on together.

import ApusGraph

extension BatchSource {
  /// This process's part of every batch: batches of `c` examples are cut into `size` runs as even as possible, run `r`
  /// being the examples `c·r/size ..< c·(r+1)/size` of each. The parts of all processes are the batch, without overlap.
  ///
  /// Where a batch has fewer examples than there are processes, some parts have none: the batch's first example then
  /// stands in, and does not count (`Batch.isCounted`).
  ///
  /// - `rank`, `size`: which part of how many; 0 ≤ rank < size.
  package func part(_ rank: Int, of size: Int) -> any BatchSource {
    if size == 1 { return self }
    if let batches = self as? Batches { return PlannedParts(base: batches, rank: rank, size: size) }
    return CutParts(base: self, rank: rank, size: size)
  }
}

/// The run of a batch's places that is a process's part; nil where it has none.
private func places(of rank: Int, of size: Int, count: Int) -> Range<Int>? {
  let range = count * rank / size..<count * (rank + 1) / size
  return range.isEmpty ? nil : range
}

/// Parts of batches whose examples are known by number: nobody else's are read.
private struct PlannedParts: PlannedSource {
  let base: Batches
  let rank: Int
  let size: Int

  var exampleCount: Int { base.exampleCount }
  var batchCount: Int { base.batchCount }
  var identity: String { base.identity }
  var prefetch: Int { base.prefetch }
  var isMadeBetweenSteps: Bool { base.isMadeBetweenSteps }

  func forTraining(seed: UInt64) -> any BatchSource {
    PlannedParts(base: base.training(seed: seed), rank: rank, size: size)
  }

  func makeIterator(epoch: Int) throws -> any BatchIterator { try start(epoch: epoch, at: 0) }

  func makeIterator(epoch: Int, startingAt first: Int) throws -> any BatchIterator {
    try start(epoch: epoch, at: first)
  }

  func plans(epoch: Int) -> (Int) -> BatchPlan {
    let plans = base.plans(epoch: epoch) { [rank, size] batch in
      let own = places(of: rank, of: size, count: batch.count)
      return own.map { (batch.dropFirst($0.lowerBound).prefix($0.count), true) }
        ?? (batch.prefix(1), false)
    }
    return plans
  }
}

/// Parts of the batches of any source, which are made whole and cut.
private struct CutParts: BatchSource {
  let base: any BatchSource
  let rank: Int
  let size: Int

  var exampleCount: Int { base.exampleCount }
  var batchCount: Int { base.batchCount }
  var identity: String { base.identity }

  func forTraining(seed: UInt64) -> any BatchSource {
    CutParts(base: base.forTraining(seed: seed), rank: rank, size: size)
  }

  func makeIterator(epoch: Int) throws -> any BatchIterator {
    CutIterator(try base.makeIterator(epoch: epoch), rank, size)
  }

  func makeIterator(epoch: Int, startingAt batch: Int) throws -> any BatchIterator {
    CutIterator(try base.makeIterator(epoch: epoch, startingAt: batch), rank, size)
  }
}

private final class CutIterator: BatchIterator {
  private let base: any BatchIterator
  private let rank: Int
  private let size: Int

  init(_ base: any BatchIterator, _ rank: Int, _ size: Int) {
    self.base = base
    self.rank = rank
    self.size = size
  }

  func next() throws -> Batch? {
    guard let batch = try base.next() else { return nil }
    let count = batch.count
    guard count > 0 else { return batch }
    if let array = batch.arrays.first(where: { $0.shape.rank == 0 || $0.shape[0] != count }) {
      throw ApusError(
        .shapeMismatch, "a batch of \(count) examples, cut into parts, has an array \(array.type)",
        expected: "\(count) examples along the first axis of every array")
    }
    let own = places(of: rank, of: size, count: count)
    let range = own ?? 0..<1
    var cut = Batch(names: batch.names, arrays: batch.arrays.map { $0.examples(range) })
    cut.isCounted = own != nil
    return cut
  }
}

extension NDArray {
  /// A run of the first axis.
  fileprivate func examples(_ range: Range<Int>) -> NDArray {
    let type = type.with(Shape([range.count] + shape.dimensions.dropFirst()))
    let size = type.byteCount / max(range.count, 1)
    return NDArray(type) { target in
      withUnsafeBytes { source in
        target.copyMemory(
          from: UnsafeRawBufferPointer(
            rebasing: source[range.lowerBound * size..<range.upperBound * size]))
      }
    }
  }
}
