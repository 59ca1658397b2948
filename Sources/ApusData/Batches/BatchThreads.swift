// Threads that make a batch together, between two steps that want all of them.
//
// A batch that a thread of its own makes ahead takes the processor of one of the step's threads, for which the
// others then wait. Where making it is nothing but work, the threads of the step do it better themselves, each its
// part, and no one of them is taken by surprise.

import Synchronization

/// Threads on which parts of a batch are made.
package struct BatchThreads: Sendable {
  /// At least 1.
  package let count: Int
  private let run: @Sendable (_ body: (_ part: Int) -> Void) -> Void

  /// The threads of whoever reads batches in this task; nil where batches are made on one.
  @TaskLocal package static var current: BatchThreads?

  /// A part with fewer bytes than that is not worth the meeting.
  private static let leastBytes = 16 << 10

  /// - `run`: calls its body for each part in `0..<count`, each on a thread of its own with the floating-point state of
  ///   any other, and returns when all are done.
  package init(count: Int, run: @escaping @Sendable (_ body: (_ part: Int) -> Void) -> Void) {
    self.count = max(count, 1)
    self.run = run
  }

  /// Calls `body` with ranges that together are `0..<rows`, on threads of their own.
  ///
  /// - `bytes`: of all rows.
  /// - Throws: the error of the first range that has one.
  static func each(
    _ threads: BatchThreads?, rows: Int, bytes: Int, _ body: (Range<Int>) throws -> Void
  ) throws {
    let parts = min(threads?.count ?? 1, rows, bytes / leastBytes)
    guard let threads, parts > 1 else {
      try body(0..<rows)
      return
    }
    let failure = Mutex<(part: Int, error: any Error)?>(nil)
    threads.run { part in
      guard part < parts else { return }
      do {
        try body(rows * part / parts..<rows * (part + 1) / parts)
      } catch {
        failure.withLock { first in
          if first.map({ part < $0.part }) ?? true { first = (part, error) }
        }
      }
    }
    if let error = failure.withLock({ $0?.error }) { throw error }
  }
}

/// A set whose examples are worked out from memory by code of this library alone: nothing waits, nothing calls a
/// user's code, and several threads may write examples at once.
package protocol ComputedDataset: Dataset {
  /// Whether that holds of this one, which may read another.
  var isComputed: Bool { get }
}

extension ComputedDataset {
  package var isComputed: Bool { true }
}

extension Dataset {
  /// Whether the step's own threads may make batches of it.
  var isComputedSet: Bool { (self as? any ComputedDataset)?.isComputed ?? false }
}
