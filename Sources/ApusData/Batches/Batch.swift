// What trainers read: batches of named arrays, epoch by epoch.

import ApusGraph

/// The arrays of one batch, by name and in a fixed order: `batch.images`.
///
/// The first axis of every array counts the examples.
@dynamicMemberLookup
public struct Batch: Sendable {
  public var names: [String]
  public var arrays: [NDArray]
  /// Whether its examples count: not where they only stand in for the part of a process that has none.
  package var isCounted = true

  public init(_ fields: KeyValuePairs<String, NDArray>) {
    names = fields.map(\.key)
    arrays = fields.map(\.value)
  }

  public init(names: [String], arrays: [NDArray]) {
    self.names = names
    self.arrays = arrays
  }

  /// The number of examples; 0 where there are no arrays, 1 where they have no axes.
  public var count: Int { arrays.first?.shape[0] ?? 0 }

  /// The array of that name, or nil.
  public subscript(dynamicMember name: String) -> NDArray? {
    names.firstIndex(of: name).map { arrays[$0] }
  }
}

/// A source of batches that can be read again and again, in an order that depends on the epoch alone.
public protocol BatchSource: Sendable {
  /// The number of examples of an epoch.
  var exampleCount: Int { get }
  /// The number of batches of an epoch, the last partial one included.
  var batchCount: Int { get }
  /// Starts an epoch, from 0 on. Batches may be prepared ahead on another thread; ending the iterator's
  /// life ends that.
  func makeIterator(epoch: Int) throws -> any BatchIterator
  /// Starts an epoch at a batch, from 0 on, to go on where an interrupted run stopped. By default the
  /// batches before are read and dropped.
  func makeIterator(epoch: Int, startingAt batch: Int) throws -> any BatchIterator
  /// What the course of a run depends on, in words: two sources of one identity give the same batches.
  var identity: String { get }
  /// The source as training reads it: shuffled by `seed` where it leaves that open. Itself by default.
  func forTraining(seed: UInt64) -> any BatchSource
}

extension BatchSource {
  public var identity: String { "\(exampleCount) examples in \(batchCount) batches" }

  public func forTraining(seed: UInt64) -> any BatchSource { self }

  public func makeIterator(epoch: Int, startingAt batch: Int) throws -> any BatchIterator {
    let iterator = try makeIterator(epoch: epoch)
    for _ in 0..<max(batch, 0) {
      guard try iterator.next() != nil else { break }
    }
    return iterator
  }
}

/// One pass over a source.
public protocol BatchIterator: AnyObject {
  /// The next batch, nil after the last.
  ///
  /// - Throws: what reading the data throws.
  func next() throws -> Batch?
}
