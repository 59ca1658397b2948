// Batches of sequences that are about as long as each other, padded to one length.
//
// A compiled step has one shape. Buckets keep the shapes few: an example goes to the smallest that holds it.

import ApusGraph

/// Sequences in padded batches; made by ``SequenceDataset/batched(_:lengths:shuffle:mask:prefetch:)``.
///
///     let batches = try data.batched(32, lengths: [16, 32, 64])
///     let batch = try batches.makeIterator(epoch: 0).next()!
///     print(batch.words!.shape, batch.lengths!.integers)
///
/// Batches have the set's sequences [n, length, …] and fixed arrays [n, …], `lengths` i32[n], and where it was asked
/// for `mask` bool[n, length]: true for the steps that are there. These are of the first sequence; of another, `name`,
/// whose lengths differ there are `nameLengths` and `nameMask`.
///
/// Shuffled, examples change places within their bucket and batches within the epoch; which ones come together depends
/// on the seed and the epoch's number alone.
public struct LengthBatches: BatchSource {
  public let dataset: SequenceDataset
  /// What batches are padded to, ascending; empty where each is padded to its longest sequence.
  public let lengths: [Int]
  public let shuffle: Shuffle
  /// Whether batches have masks.
  public let mask: Bool
  /// Batches prepared ahead; 0 prepares each when it is asked for.
  public private(set) var prefetch: Int
  /// Examples of a batch of each length; of one alone without lengths.
  public let sizes: [Int]
  private let buckets: [[Int]]
  private let capacity: String

  init(
    _ dataset: SequenceDataset, lengths: [Int], sizes: [Int], capacity: String, shuffle: Shuffle,
    mask: Bool, prefetch: Int?
  ) throws {
    for size in sizes { try checkBatches(of: size, prefetch: prefetch) }
    guard dataset.count < 1 << 31 else {
      throw ApusError(
        .invalidArgument, "a data set of \(dataset.count) examples", expected: "fewer than 2^31")
    }
    self.dataset = dataset
    self.lengths = lengths
    // No batch has more examples than there are.
    self.sizes = sizes.map { min($0, max(dataset.count, 1)) }
    self.capacity = capacity
    self.shuffle = shuffle
    self.mask = mask
    var buckets = [[Int]](repeating: [], count: max(lengths.count, 1))
    for (example, length) in dataset.lengths.enumerated() {
      let bucket = lengths.firstIndex { $0 >= length }
      guard lengths.isEmpty || bucket != nil else {
        throw ApusError(
          .invalidArgument, "example \(example) has \(length) steps",
          expected: "at most \(lengths.last!), or truncated(to: \(lengths.last!)) before")
      }
      buckets[bucket ?? 0].append(example)
    }
    self.buckets = buckets
    self.prefetch = prefetch ?? 0
    self.prefetch =
      prefetch
      ?? Self.usualPrefetch(
        batchBytes: types(count: self.sizes.max() ?? 1, length: lengths.last ?? dataset.longest)
          .reduce(0) { $0 &+ $1.byteCount })
  }

  private init(_ other: LengthBatches, shuffle: Shuffle) {
    (dataset, lengths, sizes) = (other.dataset, other.lengths, other.sizes)
    (mask, prefetch, buckets) = (other.mask, other.prefetch, other.buckets)
    capacity = other.capacity
    self.shuffle = shuffle
  }

  /// The same batches, shuffled by `seed` unless they have an order of their own.
  public func forTraining(seed: UInt64) -> any BatchSource {
    shuffle == .whenTraining ? LengthBatches(self, shuffle: .seed(seed)) : self
  }

  public var identity: String {
    let order = if case .seed(let seed) = shuffle { "shuffled by seed \(seed)" } else { "in order" }
    let lengths = lengths.isEmpty ? "its longest" : lengths.map(String.init).joined(separator: ", ")
    return "\(dataset.identity) in batches of \(capacity), padded to \(lengths), \(order)"
  }

  public var exampleCount: Int { dataset.count }
  public var batchCount: Int {
    zip(buckets, sizes).reduce(0) { $0 + ($1.0.count + $1.1 - 1) / $1.1 }
  }

  /// The examples of each batch of an epoch.
  public func order(epoch: Int) -> [[Int]] { batches(epoch).map(\.examples) }

  /// How many batches' examples are sorted by length together where batches are padded to their longest: a
  /// compromise between padding and chance.
  private static let poolBatches = 50

  private func batches(_ epoch: Int) -> [(examples: [Int], length: Int)] {
    var buckets = buckets
    if case .seed(let seed) = shuffle {
      let order = permutation(of: dataset.count, seed: seed, epoch: epoch)
      var bucketOf = [Int](repeating: 0, count: dataset.count)
      for (bucket, examples) in buckets.enumerated() {
        for example in examples { bucketOf[example] = bucket }
        buckets[bucket].removeAll(keepingCapacity: true)
      }
      for example in order { buckets[bucketOf[example]].append(example) }
      if lengths.isEmpty { buckets[0] = sortedInPools(buckets[0]) }
    }
    var batches: [(examples: [Int], length: Int)] = []
    for (bucket, examples) in buckets.enumerated() {
      for start in stride(from: 0, to: examples.count, by: sizes[bucket]) {
        let part = Array(examples[start..<min(start + sizes[bucket], examples.count)])
        let length = lengths.isEmpty ? part.map { dataset.lengths[$0] }.max()! : lengths[bucket]
        batches.append((part, length))
      }
    }
    guard case .seed(let seed) = shuffle else { return batches }
    // "btch"
    return permutation(of: batches.count, seed: seed, epoch: epoch, purpose: 0x6274_6368)
      .map { batches[$0] }
  }

  /// Runs of so many examples, each sorted by length; of equal lengths in the order they had.
  private func sortedInPools(_ examples: [Int]) -> [Int] {
    let pool = sizes[0].multipliedReportingOverflow(by: Self.poolBatches)
    let size = pool.overflow ? Int.max : pool.partialValue
    var result: [Int] = []
    var start = 0
    while start < examples.count {
      let end = start + min(size, examples.count - start)
      let run = examples[start..<end].enumerated()
      result += run.sorted {
        (dataset.lengths[$0.element], $0.offset) < (dataset.lengths[$1.element], $1.offset)
      }.map(\.element)
      start = end
    }
    return result
  }

  /// Starts an epoch. With prefetching, a thread prepares batches until the epoch or the iterator's life ends.
  ///
  /// - Throws: `resource` where the system gives no thread.
  public func makeIterator(epoch: Int) throws -> any BatchIterator {
    try start(epoch: epoch, at: 0)
  }

  /// Starts an epoch at batch `first`, to go on where an interrupted run stopped.
  ///
  /// - Throws: `invalidArgument` for a batch that the epoch does not have, and as ``makeIterator(epoch:)``.
  public func makeIterator(epoch: Int, startingAt first: Int) throws -> any BatchIterator {
    try start(epoch: epoch, at: first)
  }

  private func types(count: Int, length: Int) -> [TensorType] {
    let measured = dataset.measured.count
    return dataset.sequences.map { _, field in
      field.step.with(Shape([count, length] + field.step.shape.dimensions))
    }
      + dataset.fixed.map { _, array in
        array.type.with(Shape([count] + array.shape.dimensions.dropFirst()))
      }
      + [TensorType](repeating: .i32(count), count: measured)
      + [TensorType](repeating: .bool(count, length), count: mask ? measured : 0)
  }
}

extension LengthBatches: PlannedSource {
  func plans(epoch: Int) -> (Int) -> BatchPlan {
    let batches = batches(epoch)
    let names = dataset.batchNames(mask: mask)
    return { index in
      let (examples, length) = batches[index]
      return BatchPlan(names: names, types: types(count: examples.count, length: length)) {
        targets, _ in fill(targets, examples, length)
      }
    }
  }

  private func fill(_ targets: [UnsafeMutableRawBufferPointer], _ examples: [Int], _ length: Int) {
    var target = targets[...]
    for (_, field) in dataset.sequences {
      let bytes = target.removeFirst()
      let size = field.step.byteCount * length
      for (place, example) in examples.enumerated() {
        field.write(
          example,
          to: UnsafeMutableRawBufferPointer(rebasing: bytes[place * size..<(place + 1) * size]))
      }
    }
    for (_, array) in dataset.fixed {
      let size = array.type.byteCount / max(dataset.count, 1)
      let bytes = target.removeFirst()
      array.withUnsafeBytes { source in
        for (place, example) in examples.enumerated() where size > 0 {
          (bytes.baseAddress! + place * size).copyMemory(
            from: source.baseAddress! + example * size, byteCount: size)
        }
      }
    }
    for (_, field) in dataset.measured {
      let numbers = target.removeFirst().bindMemory(to: Int32.self)
      for (place, example) in examples.enumerated() {
        numbers[place] = Int32(field.length(example))
      }
    }
    guard mask else { return }
    for (_, field) in dataset.measured {
      let flags = target.removeFirst()
      for (place, example) in examples.enumerated() {
        for step in 0..<length {
          flags[place * length + step] = step < field.length(example) ? 1 : 0
        }
      }
    }
  }
}

extension SequenceDataset {
  /// The set in padded batches of `size` examples.
  ///
  /// - `lengths`: what batches may be padded to. An example goes to the smallest that holds it, and each is compiled
  ///   once (twice with the bucket's last, smaller batch), so name a few. Without any, each batch is padded to its
  ///   longest sequence, and shuffled examples come together with others of about their length.
  /// - `shuffle`, `prefetch`: as ``Dataset/batched(_:shuffle:prefetch:)``. In order, batches go from the shortest
  ///   bucket to the longest.
  /// - `mask`: whether batches have `mask` too, bool[n, length].
  /// - Throws: `invalidArgument` for a batch of less than one example, lengths below 1, or an example that is longer than
  ///   all of them.
  public func batched(
    _ size: Int, lengths: [Int] = [], shuffle: Shuffle = .whenTraining, mask: Bool = false,
    prefetch: Int? = nil
  ) throws -> LengthBatches {
    let lengths = try checked(lengths)
    return try LengthBatches(
      self, lengths: lengths, sizes: [Int](repeating: size, count: max(lengths.count, 1)),
      capacity: "\(size)", shuffle: shuffle, mask: mask, prefetch: prefetch)
  }

  /// The set in padded batches of about `tokens` steps: as many examples as fit, and one at least.
  ///
  ///     let batches = try data.batched(tokens: 4096, lengths: [32, 64, 128])   // 128, 64 and 32 examples
  ///
  /// - `lengths`: one at least; see ``batched(_:lengths:shuffle:mask:prefetch:)``.
  /// - Throws: as ``batched(_:lengths:shuffle:mask:prefetch:)``, and `invalidArgument` without lengths.
  public func batched(
    tokens: Int, lengths: [Int], shuffle: Shuffle = .whenTraining, mask: Bool = false,
    prefetch: Int? = nil
  ) throws -> LengthBatches {
    let lengths = try checked(lengths)
    guard tokens >= 1, !lengths.isEmpty else {
      throw ApusError(
        .invalidArgument, "batches of \(tokens) steps, padded to \(lengths)",
        expected: "a step at least, and a length at least")
    }
    return try LengthBatches(
      self, lengths: lengths, sizes: lengths.map { max(tokens / $0, 1) },
      capacity: "\(tokens) steps", shuffle: shuffle, mask: mask, prefetch: prefetch)
  }

  private func checked(_ lengths: [Int]) throws -> [Int] {
    let sorted = Set(lengths).sorted()
    guard sorted.first ?? 1 >= 1 else {
      throw ApusError(
        .invalidArgument, "batches padded to \(sorted[0]) steps", expected: "a step at least")
    }
    return sorted
  }
}
