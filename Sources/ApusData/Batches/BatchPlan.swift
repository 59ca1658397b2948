// How batches are made: what a source says of each, and the pass that makes one after the other.

import ApusGraph

/// One batch that is to be made.
struct BatchPlan {
  var names: [String]
  /// Of whole arrays, with the axis of the batch.
  var types: [TensorType]
  /// Whether its examples count; see `Batch.isCounted`.
  var isCounted = true
  /// Writes every byte of the arrays, on such threads.
  var fill: ([UnsafeMutableRawBufferPointer], _ threads: BatchThreads?) throws -> Void
}

/// A source whose batches may be made ahead, since each can be planned from its number alone.
protocol PlannedSource: BatchSource {
  /// Batches prepared ahead; 0 prepares each when it is asked for.
  var prefetch: Int { get }
  /// Whether the threads of whoever asks for batches make them where there are several, instead of one that makes
  /// them ahead.
  var isMadeBetweenSteps: Bool { get }
  /// Draws the order of an epoch; what is returned plans its batches by their numbers.
  func plans(epoch: Int) -> (Int) -> BatchPlan
}

extension PlannedSource {
  var isMadeBetweenSteps: Bool { false }

  /// Starts an epoch at a batch.
  ///
  /// - Throws: `invalidArgument` for a batch that the epoch does not have, `resource` without a thread.
  func start(epoch: Int, at first: Int) throws -> any BatchIterator {
    guard (0...batchCount).contains(first) else {
      throw ApusError(
        .invalidArgument, "an epoch of \(batchCount) batches is started at batch \(first)",
        expected: "a batch in 0...\(batchCount)")
    }
    let pass = Pass(self, epoch: epoch, next: first)
    if isMadeBetweenSteps, let threads = BatchThreads.current, threads.count > 1 {
      return DirectIterator(pass, on: threads)
    }
    if prefetch == 0 || batchCount - first <= 1 { return DirectIterator(pass) }
    return try PrefetchingIterator.start(pass, depth: prefetch)
  }

  /// How many batches are prepared ahead where nobody says: as many as fit in 4 MB, from 2 to 16.
  static func usualPrefetch(batchBytes: Int) -> Int {
    min(max((4 << 20) / max(batchBytes, 1), 2), 16)
  }
}

/// - Throws: `invalidArgument` for batches of less than one example or negative prefetching.
func checkBatches(of size: Int, prefetch: Int?) throws {
  guard size >= 1 else {
    throw ApusError(
      .invalidArgument, "a batch of \(size) examples", expected: "at least 1 example")
  }
  guard prefetch.map({ $0 >= 0 }) ?? true else {
    throw ApusError(
      .invalidArgument, "\(prefetch!) batches prepared ahead", expected: "0 or more")
  }
}

/// One pass over a source: makes its batches in order, into arrays that are used again.
struct Pass {
  private let source: any PlannedSource
  private let epoch: Int
  private let count: Int
  private var next: Int
  private var plan: ((Int) -> BatchPlan)?

  init(_ source: any PlannedSource, epoch: Int, next: Int) {
    self.source = source
    self.epoch = epoch
    self.next = next
    count = source.batchCount
  }

  var isDone: Bool { next >= count }

  /// The next batch, in the memory of `spare` where it fits and nobody else holds it. Consumed, since
  /// the caller's own hold would count.
  ///
  /// - `threads`: make it together; nil for the calling one alone.
  mutating func make(reusing spare: consuming Batch?, on threads: BatchThreads? = nil) throws
    -> Batch
  {
    // Drawn here, so that with prefetching the shuffle runs on the other thread too. Stored once: a closure that is
    // taken out of an optional and put back is wrapped anew each time, and a late batch would go through all wrappings.
    if plan == nil { plan = source.plans(epoch: epoch) }
    let batch = plan!(next)
    next += 1
    var arrays: [NDArray] = []
    if var old = spare.take() { swap(&arrays, &old.arrays) }
    if !arrays.map(\.type).elementsEqual(batch.types) {
      arrays = try batch.types.map { try NDArray(checking: $0) }
    }
    try arrays.lend { try batch.fill($0, threads) }
    var made = Batch(names: batch.names, arrays: arrays)
    made.isCounted = batch.isCounted
    return made
  }
}

extension [NDArray] {
  /// Calls `body` with the memory of all arrays, to be written.
  mutating func lend(to body: ([UnsafeMutableRawBufferPointer]) throws -> Void) throws {
    // Each array is taken out of the list while its memory is lent, so that it has one owner.
    var pending = Array(reversed())
    removeAll(keepingCapacity: true)
    var targets: [UnsafeMutableRawBufferPointer] = []
    try Self.lend(&pending, &targets, to: &self, body)
  }

  private static func lend(
    _ pending: inout [NDArray], _ targets: inout [UnsafeMutableRawBufferPointer],
    to done: inout [NDArray], _ body: ([UnsafeMutableRawBufferPointer]) throws -> Void
  ) throws {
    guard var array = pending.popLast() else { return try body(targets) }
    let place = done.count
    try array.withUnsafeMutableBytes { bytes in
      targets.append(bytes)
      try lend(&pending, &targets, to: &done, body)
    }
    done.insert(array, at: place)
  }
}

/// Makes each batch when it is asked for.
final class DirectIterator: BatchIterator {
  private var pass: Pass
  private let threads: BatchThreads?
  private var last: Batch?

  /// - `threads`: make it together; nil for the calling one alone.
  init(_ pass: Pass, on threads: BatchThreads? = nil) {
    self.pass = pass
    self.threads = threads
  }

  func next() throws -> Batch? {
    guard !pass.isDone else { return nil }
    last = try pass.make(reusing: last.take(), on: threads)
    return last
  }
}
