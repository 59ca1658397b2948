// Data sets cut into batches, epoch by epoch, prepared while the step before runs.

import ApusGraph

/// In which order the examples of a data set are read.
///
///     data.train.batched(64)                     // shuffled where a trainer learns from it
///     data.train.batched(64, shuffle: 7)         // shuffled by seed 7, whoever reads it
///     data.train.batched(64, shuffle: nil)       // as they stand
public enum Shuffle: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByNilLiteral {
  /// Shuffled anew in each epoch of training, by the trainer's seed; as they stand elsewhere.
  case whenTraining
  case never
  /// Shuffled anew in each epoch, by this seed.
  case seed(UInt64)

  public init(integerLiteral value: UInt64) { self = .seed(value) }
  public init(nilLiteral: ()) { self = .never }
}

/// A data set in batches; made by ``Dataset/batched(_:shuffle:prefetch:)``.
///
///     let batches = try data.train.batched(64, shuffle: 7)
///     let iterator = try batches.makeIterator(epoch: 0)
///     while let batch = try iterator.next() { print(batch.images!.shape) }
///
/// The last batch holds what is left and may be smaller; nothing is dropped or repeated. The order of an
/// epoch depends on the seed and the epoch's number alone.
public struct Batches: BatchSource {
  public let dataset: any Dataset
  /// Examples in every batch but, possibly, the last.
  public let size: Int
  public let shuffle: Shuffle
  /// Batches prepared ahead; 0 prepares each when it is asked for.
  public let prefetch: Int

  /// - Throws: `invalidArgument` for a size below 1, negative prefetching, or 2^32 examples and more.
  public init(
    _ dataset: any Dataset, size: Int, shuffle: Shuffle = .whenTraining, prefetch: Int? = nil
  ) throws {
    guard size >= 1 else {
      throw ApusError(
        .invalidArgument, "a batch of \(size) examples", expected: "at least 1 example")
    }
    guard prefetch.map({ $0 >= 0 }) ?? true else {
      throw ApusError(
        .invalidArgument, "\(prefetch!) batches prepared ahead", expected: "0 or more")
    }
    guard dataset.count >= 0, dataset.count < 1 << 32 else {
      throw ApusError(
        .invalidArgument, "a data set of \(dataset.count) examples", expected: "fewer than 2^32")
    }
    self.dataset = dataset
    self.size = size
    self.shuffle = shuffle
    let examples = min(size, max(dataset.count, 1))
    let bytes = dataset.fields.reduce(0) { $0 + $1.batched(examples).byteCount }
    self.prefetch = prefetch ?? min(max((4 << 20) / max(bytes, 1), 2), 16)
  }

  private init(_ other: Batches, shuffle: Shuffle) {
    (dataset, size, prefetch) = (other.dataset, other.size, other.prefetch)
    self.shuffle = shuffle
  }

  /// The same batches, shuffled by `seed` unless they have an order of their own.
  public func forTraining(seed: UInt64) -> any BatchSource {
    shuffle == .whenTraining ? Batches(self, shuffle: .seed(seed)) : self
  }

  public var identity: String {
    let order = if case .seed(let seed) = shuffle { "shuffled by seed \(seed)" } else { "in order" }
    return "\(exampleCount) examples in batches of \(size), \(order)"
  }

  public var exampleCount: Int { dataset.count }
  public var batchCount: Int { (dataset.count + size - 1) / size }

  /// One batch's worth of examples of an order.
  func examples(ofBatch index: Int, in order: [Int]) -> ArraySlice<Int> {
    order[min(index * size, order.count)..<min((index + 1) * size, order.count)]
  }

  /// The order in which an epoch reads the examples.
  public func order(epoch: Int) -> [Int] {
    guard case .seed(let seed) = shuffle else { return Array(0..<dataset.count) }
    return permutation(of: dataset.count, seed: seed, epoch: epoch)
  }

  /// Starts an epoch. With prefetching, a thread prepares batches until the epoch or the iterator's
  /// life ends.
  ///
  /// - Throws: `resource` where the system gives no thread.
  public func makeIterator(epoch: Int) throws -> any BatchIterator {
    try makeIterator(epoch: epoch, startingAt: 0)
  }

  /// Starts an epoch at batch `first`, to go on where an interrupted run stopped.
  ///
  /// - Throws: `invalidArgument` for a batch that the epoch does not have, and as
  ///   ``makeIterator(epoch:)``.
  public func makeIterator(epoch: Int, startingAt first: Int) throws -> any BatchIterator {
    guard (0...batchCount).contains(first) else {
      throw ApusError(
        .invalidArgument, "an epoch of \(batchCount) batches is started at batch \(first)",
        expected: "a batch in 0...\(batchCount)")
    }
    let pass = Pass(batches: self, epoch: epoch, next: first)
    if prefetch == 0 || batchCount - first <= 1 { return DirectIterator(pass) }
    return try PrefetchingIterator.start(pass, depth: prefetch)
  }
}

/// One pass over the batches: makes them in order, into arrays that are used again.
struct Pass {
  let batches: Batches
  let epoch: Int
  var next: Int
  private var order: [Int]?

  init(batches: Batches, epoch: Int, next: Int) {
    self.batches = batches
    self.epoch = epoch
    self.next = next
  }

  var isDone: Bool { next >= batches.batchCount }

  /// The next batch, in the memory of `spare` where it fits and nobody else holds it. Consumed, since
  /// the caller's own hold would count.
  mutating func make(reusing spare: consuming Batch?) throws -> Batch {
    // Drawn here, so that with prefetching the shuffle runs on the other thread too.
    let order = self.order ?? batches.order(epoch: epoch)
    self.order = order
    let examples = batches.examples(ofBatch: next, in: order)
    next += 1
    let fields = batches.dataset.fields
    var arrays: [NDArray] = []
    if var old = spare.take() { swap(&arrays, &old.arrays) }
    if !arrays.map(\.type).elementsEqual(fields.map { $0.batched(examples.count) }) {
      arrays = fields.map { NDArray(zeros: $0.batched(examples.count)) }
    }
    try fill(&arrays, with: examples)
    return Batch(names: fields.map(\.name), arrays: arrays)
  }

  private func fill(_ arrays: inout [NDArray], with examples: ArraySlice<Int>) throws {
    // Each array is taken out of the list while its memory is lent, so that it has one owner.
    var pending = Array(arrays.reversed())
    arrays.removeAll(keepingCapacity: true)
    var targets: [UnsafeMutableRawBufferPointer] = []
    try lend(&pending, &targets, to: &arrays, examples)
  }

  private func lend(
    _ pending: inout [NDArray], _ targets: inout [UnsafeMutableRawBufferPointer],
    to done: inout [NDArray], _ examples: ArraySlice<Int>
  ) throws {
    guard var array = pending.popLast() else {
      return try batches.dataset.fill(targets, with: examples)
    }
    let place = done.count
    try array.withUnsafeMutableBytes { bytes in
      targets.append(bytes)
      try lend(&pending, &targets, to: &done, examples)
    }
    done.insert(array, at: place)
  }
}

/// Makes each batch when it is asked for.
final class DirectIterator: BatchIterator {
  private var pass: Pass
  private var last: Batch?

  init(_ pass: Pass) { self.pass = pass }

  func next() throws -> Batch? {
    guard !pass.isDone else { return nil }
    last = try pass.make(reusing: last.take())
    return last
  }
}
