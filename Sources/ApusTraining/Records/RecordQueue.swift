// Records on their way from the training loop to the writers, on a thread of their own.

import ApusGraph
import Dispatch
import Synchronization

/// Hands records to writers off the training loop's path. What a writer cannot write is told and lost; training goes on.
final class RecordQueue: Sendable {
  /// So many batches of records may wait; then who brings more waits.
  private static let room = 64

  private let writers: [any RecordWriter]
  private let warn: @Sendable (String) -> Void
  private let queue = DispatchQueue(label: "apus.records")
  private let free = DispatchSemaphore(value: RecordQueue.room)
  /// Whether a writer's last attempt failed, which has been said.
  private let failed: Mutex<[Bool]>

  init(_ writers: [any RecordWriter], warn: @escaping @Sendable (String) -> Void) {
    self.writers = writers
    self.warn = warn
    failed = Mutex(Array(repeating: false, count: writers.count))
  }

  /// Begins all writers' files, after what waits has been written.
  ///
  /// - Throws: `io` where one cannot.
  func begin(at step: Int, time: Double) throws {
    try queue.sync { for writer in writers { try writer.begin(at: step, time: time) } }
  }

  /// Has records made and written, in the order of the calls.
  ///
  /// - `make`: called on the queue's thread.
  func add(_ make: @escaping @Sendable () -> [RunRecord]) {
    free.wait()
    queue.async { [self] in
      write(make())
      free.signal()
    }
  }

  /// Waits until all that was added has been written.
  func settle() { queue.sync {} }

  private func write(_ records: [RunRecord]) {
    guard let first = records.first else { return }
    for (place, writer) in writers.enumerated() {
      do {
        try writer.write(records)
        failed.withLock { $0[place] = false }
      } catch {
        let isNew = failed.withLock { failed in
          defer { failed[place] = true }
          return !failed[place]
        }
        if isNew {
          warn(
            "records of step \(first.step) are lost; training goes on, and the next are tried: \(error)"
          )
        }
      }
    }
  }
}
