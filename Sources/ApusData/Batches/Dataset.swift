// Sets of examples that batches are drawn from.

import ApusGraph

/// The name of one of a data set's arrays and the type that it has in one example.
public struct ExampleField: Sendable, Hashable {
  public var name: String
  /// Without the batch axis: an image of a batch `f32[64,28,28,1]` is `f32[28,28,1]`.
  public var type: TensorType

  public init(_ name: String, _ type: TensorType) {
    self.name = name
    self.type = type
  }

  /// The type of `count` examples.
  func batched(_ count: Int) -> TensorType {
    type.with(Shape([count] + type.shape.dimensions))
  }
}

/// A set of examples that can be read in any order.
///
/// To make one of your own, say what an example is made of and write examples into memory:
///
///     struct Squares: Dataset {
///       let count = 1000
///       let fields = [ExampleField("x", .f32()), ExampleField("y", .f32())]
///       func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) {
///         for (place, example) in examples.enumerated() {
///           targets[0].storeBytes(of: Float(example), toByteOffset: 4 * place, as: Float.self)
///           targets[1].storeBytes(
///             of: Float(example * example), toByteOffset: 4 * place, as: Float.self)
///         }
///       }
///     }
public protocol Dataset: Sendable {
  /// The number of examples.
  var count: Int { get }
  /// What an example is made of; the same for all.
  var fields: [ExampleField] { get }
  /// Writes the examples of those indices one after another, each field to its own target. The memory
  /// holds an earlier batch: every byte must be written.
  ///
  /// Called from a thread of its own while a step runs, or from the one that asks for a batch; one call at a time for
  /// each epoch under way.
  ///
  /// - Throws: what reading an example throws; it ends the epoch.
  func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) throws
  /// As ``fill(_:with:)``, in an epoch: what is random in the examples is drawn from its key. By default nothing is.
  /// A set that reads another one hands the key on.
  func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>, in epoch: EpochKey
  ) throws
  /// What the examples are, in words, for a checkpoint to compare: their number by default. A set that transforms
  /// another one says how.
  var identity: String { get }
}

extension Dataset {
  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>, in epoch: EpochKey
  ) throws {
    try fill(targets, with: examples)
  }

  public var identity: String { "\(count) examples" }

  /// The set cut into batches of `size` examples, the last one smaller where the set does not divide.
  ///
  /// - `shuffle`: a seed, for a random order that depends on it and the epoch alone; nil for the order of the
  ///   set, every time. By default training shuffles and evaluation does not.
  /// - `prefetch`: how many batches are prepared ahead on another thread; 0 prepares each when it is
  ///   asked for. By default as many as fit in 4 MB, from 2 to 16; but the threads of a trainer make batches of
  ///   arrays in memory themselves, between two steps.
  /// - Throws: `invalidArgument` for a batch of less than one example or negative prefetching.
  public func batched(
    _ size: Int, shuffle: Shuffle = .whenTraining, prefetch: Int? = nil
  ) throws -> Batches {
    try Batches(self, size: size, shuffle: shuffle, prefetch: prefetch)
  }

  /// The set cut into batches of `size` examples that a sampler draws.
  ///
  ///     let sampler = try WeightedSampler(balancing: data.labels.integers)
  ///     let batches = try data.batched(64, sampler: sampler)   // each class as often as any other
  ///
  /// - `seed`: what is drawn depends on it and the epoch alone; nil for the trainer's where one learns from it.
  /// - Throws: as ``batched(_:shuffle:prefetch:)``, and `invalidArgument` for another number of weights than
  ///   there are examples.
  public func batched(
    _ size: Int, sampler: WeightedSampler, seed: UInt64? = nil, prefetch: Int? = nil
  ) throws -> Batches {
    try Batches(
      self, size: size, shuffle: seed.map { .seed($0) } ?? .whenTraining, sampler: sampler,
      prefetch: prefetch)
  }

  /// The examples of a range as a set of their own, such as a part kept back for validation.
  ///
  /// - Throws: `invalidArgument` where the range is not within the set.
  public func subset(_ range: Range<Int>) throws -> DatasetSlice {
    guard range.lowerBound >= 0, range.upperBound <= count else {
      throw ApusError(
        .invalidArgument, "examples \(range) do not exist in a data set of \(count)",
        expected: "a range within 0..<\(count)")
    }
    return DatasetSlice(base: self, range: range)
  }
}

/// A range of another set's examples; made by ``Dataset/subset(_:)``.
public struct DatasetSlice: Dataset, ComputedDataset {
  let base: any Dataset
  let range: Range<Int>

  public var count: Int { range.count }
  public var fields: [ExampleField] { base.fields }
  public var identity: String { "examples \(range) of \(base.identity)" }
  package var isComputed: Bool { base.isComputedSet }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) throws {
    try fill(targets, with: examples, in: EpochKey())
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>, in epoch: EpochKey
  ) throws {
    let moved = examples.map { $0 + range.lowerBound }
    try base.fill(targets, with: moved[...], in: epoch)
  }
}

/// A set of examples that lie in memory: element `i` of every array's first axis is example `i`.
///
///     let data = try ArrayDataset(["points": points, "classes": classes])
///     try trainer.fit(data.batched(32), epochs: 10)
public struct ArrayDataset: Dataset, ComputedDataset {
  public let count: Int
  public let fields: [ExampleField]
  private let arrays: [NDArray]

  /// - Throws: `invalidArgument` without arrays or with a name that stands twice, `shapeMismatch` where
  ///   an array is a scalar or the first extents differ.
  public init(_ arrays: KeyValuePairs<String, NDArray>) throws {
    guard let first = arrays.first else {
      throw ApusError(.invalidArgument, "a data set without arrays", expected: "one at least")
    }
    for (name, array) in arrays
    where array.shape.rank == 0 || array.shape[0] != first.value.shape[0] {
      throw ApusError(
        .shapeMismatch, "array '\(name)' of the data set is \(array.type)",
        expected: "\(first.value.shape[0]) examples along the first axis, as '\(first.key)' has")
    }
    guard Set(arrays.map(\.key)).count == arrays.count else {
      throw ApusError(
        .invalidArgument, "the data set's arrays \(arrays.map(\.key)) name one twice",
        expected: "unique names")
    }
    count = first.value.shape[0]
    fields = arrays.map { name, array in
      ExampleField(name, array.type.with(Shape(Array(array.shape.dimensions.dropFirst()))))
    }
    self.arrays = arrays.map(\.value)
  }

  public func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) {
    for (array, target) in zip(arrays, targets) {
      let size = count == 0 ? 0 : array.type.byteCount / count
      guard size > 0 else { continue }
      array.withUnsafeBytes { source in
        var place = target.baseAddress!
        for example in examples {
          place.copyMemory(from: source.baseAddress! + example * size, byteCount: size)
          place += size
        }
      }
    }
  }
}
