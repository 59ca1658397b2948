// The memory of intermediate values, of one executable or of several of which one runs at a time.

import ApusGraph
import Synchronization

/// An arena that grows to what the largest plan on it needs.
///
/// Executables that share one take turns: the training steps of a model for many batch sizes need the
/// memory of the largest, not of all.
///
///     let arena = Arena()
///     let full = try Executable(graph64, states: states, arena: arena)
///     let last = try Executable(graph17, states: states, arena: arena)
package final class Arena: Sendable {
  private let memory = Mutex<Memory?>(nil)
  private let size = Atomic<Int>(0)

  package init() {}

  /// Bytes that the arena has.
  package var byteCount: Int { size.load(ordering: .relaxed) }

  /// Makes room for a plan of that many bytes.
  ///
  /// - Throws: `resource` where the system gives no memory.
  func reserve(_ bytes: Int) throws {
    try memory.withLock { memory in
      let current = byteCount
      guard memory == nil || bytes > current else { return }
      // Sizes that grow by a little each time must not each move the arena. What no plan touches takes
      // no memory.
      let wanted = memory == nil ? bytes : max(bytes, current + current / 2)
      do {
        memory = try Memory(byteCount: wanted, for: "an arena")
        size.store(wanted, ordering: .relaxed)
      } catch  where wanted > bytes {
        memory = try Memory(byteCount: bytes, for: "an arena")
        size.store(bytes, ordering: .relaxed)
      }
    }
  }

  /// Runs `body` on the memory while nobody else does.
  func withMemory<R>(_ body: (UnsafeMutableRawPointer) throws -> R) rethrows -> R {
    // Reserved by each executable before its first run.
    try memory.withLock { try body($0!.base) }
  }
}
