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
/// The last batch holds what is left and may be smaller. Without a sampler nothing is dropped or repeated. The
/// order of an epoch depends on the seed and the epoch's number alone, and so does what transforms draw.
public struct Batches: BatchSource {
  public let dataset: any Dataset
  /// Examples in every batch but, possibly, the last.
  public let size: Int
  public let shuffle: Shuffle
  /// Draws the examples of an epoch; nil where each comes once.
  public let sampler: WeightedSampler?
  /// Batches prepared ahead; 0 prepares each when it is asked for.
  public let prefetch: Int
  /// Whether nobody has said how many are.
  private let isPrefetchUsual: Bool
  /// The trainer's, for what is random in a set that is read in order.
  private let trainingSeed: UInt64?

  /// - Throws: `invalidArgument` for a size below 1, negative prefetching, 2^32 examples and more, or a sampler
  ///   of another number of weights than there are examples.
  public init(
    _ dataset: any Dataset, size: Int, shuffle: Shuffle = .whenTraining,
    sampler: WeightedSampler? = nil, prefetch: Int? = nil
  ) throws {
    try checkBatches(of: size, prefetch: prefetch)
    guard dataset.count >= 0, dataset.count < 1 << 32 else {
      throw ApusError(
        .invalidArgument, "a data set of \(dataset.count) examples", expected: "fewer than 2^32")
    }
    if let sampler, sampler.weights.count != dataset.count {
      throw ApusError(
        .invalidArgument,
        "a sampler of \(sampler.weights.count) weights for \(dataset.count) examples",
        expected: "a weight for each example")
    }
    self.dataset = dataset
    self.size = size
    self.shuffle = shuffle
    self.sampler = sampler
    let examples = min(size, max(dataset.count, 1))
    let bytes = dataset.fields.reduce(0) { $0 &+ $1.batched(examples).byteCount }
    self.prefetch = prefetch ?? Self.usualPrefetch(batchBytes: bytes)
    isPrefetchUsual = prefetch == nil
    trainingSeed = nil
  }

  private init(_ other: Batches, shuffle: Shuffle, trainingSeed: UInt64) {
    (dataset, size, sampler) = (other.dataset, other.size, other.sampler)
    (prefetch, isPrefetchUsual) = (other.prefetch, other.isPrefetchUsual)
    self.shuffle = shuffle
    self.trainingSeed = trainingSeed
  }

  /// The same batches, shuffled by `seed` unless they have an order of their own. What transforms draw follows from
  /// the seed of the order, or from this one where the set is read in order.
  public func forTraining(seed: UInt64) -> any BatchSource { training(seed: seed) }

  func training(seed: UInt64) -> Batches {
    if case .seed = shuffle { return self }
    return Batches(
      self, shuffle: shuffle == .whenTraining ? .seed(seed) : shuffle, trainingSeed: seed)
  }

  public var identity: String {
    var text = "\(dataset.identity) in batches of \(size)"
    if let sampler { text += ", \(sampler.identity)" }
    switch shuffle {
    case .seed(let seed):
      return text + (sampler == nil ? ", shuffled" : ", drawn") + " by seed \(seed)"
    case .never where trainingSeed != nil && dataset.identity != "\(dataset.count) examples":
      return text + ", in order, transformed by seed \(trainingSeed!)"
    default: return text + ", in order"
    }
  }

  public var exampleCount: Int { sampler?.count ?? dataset.count }
  public var batchCount: Int { exampleCount == 0 ? 0 : (exampleCount - 1) / size + 1 }

  /// What the random numbers of an epoch follow from.
  func key(epoch: Int) -> EpochKey {
    if case .seed(let seed) = shuffle { return EpochKey(seed: seed, epoch: epoch) }
    return EpochKey(seed: trainingSeed ?? 0, epoch: epoch)
  }

  /// The order in which an epoch reads the examples.
  public func order(epoch: Int) -> [Int] {
    let key = key(epoch: epoch)
    if let sampler { return sampler.examples(key) }
    guard case .seed(let seed) = shuffle else { return Array(0..<dataset.count) }
    return permutation(of: dataset.count, seed: seed, epoch: epoch)
  }

  /// Starts an epoch. With prefetching, a thread prepares batches until the epoch or the iterator's
  /// life ends; but the threads of a trainer make batches of arrays in memory themselves, each its part.
  ///
  /// - Throws: `resource` where the system gives no thread.
  public func makeIterator(epoch: Int) throws -> any BatchIterator {
    try start(epoch: epoch, at: 0)
  }

  /// Starts an epoch at batch `first`, to go on where an interrupted run stopped.
  ///
  /// - Throws: `invalidArgument` for a batch that the epoch does not have, and as
  ///   ``makeIterator(epoch:)``.
  public func makeIterator(epoch: Int, startingAt first: Int) throws -> any BatchIterator {
    try start(epoch: epoch, at: first)
  }
}

extension Batches: PlannedSource {
  var isMadeBetweenSteps: Bool { isPrefetchUsual && dataset.isComputedSet }

  func plans(epoch: Int) -> (Int) -> BatchPlan { plans(epoch: epoch) { ($0, true) } }

  /// - `part`: the examples of a batch that are read, and whether they count.
  func plans(
    epoch: Int, _ part: @escaping (ArraySlice<Int>) -> (examples: ArraySlice<Int>, isCounted: Bool)
  ) -> (Int) -> BatchPlan {
    let order = order(epoch: epoch)
    let key = key(epoch: epoch)
    let fields = dataset.fields
    let names = fields.map(\.name)
    let size = min(size, max(order.count, 1))
    return { index in
      let (examples, isCounted) = part(
        order[min(index * size, order.count)..<min((index + 1) * size, order.count)])
      return BatchPlan(
        names: names, types: fields.map { $0.batched(examples.count) }, isCounted: isCounted
      ) { targets, threads in
        let count = examples.count
        try BatchThreads.each(
          threads, rows: count, bytes: targets.reduce(0) { $0 + $1.count }
        ) { rows in
          guard rows.count < count else {
            return try dataset.fill(targets, with: examples, in: key)
          }
          let parts = targets.map { target in
            let size = target.count / count
            return UnsafeMutableRawBufferPointer(
              rebasing: target[rows.lowerBound * size..<rows.upperBound * size])
          }
          let first = examples.startIndex
          try dataset.fill(
            parts, with: examples[first + rows.lowerBound..<first + rows.upperBound], in: key)
        }
      }
    }
  }
}
