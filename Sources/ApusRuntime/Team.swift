// The team of threads as Swift sees it: how many, why that many, and one for the whole process.

import ApusGraph
import CKernels
import Synchronization

/// How many threads a team has, and where the number comes from.
package struct ThreadCount: Sendable, Hashable, CustomStringConvertible {
  package var count: Int
  /// Such as "APUS_THREADS" or "processor affinity".
  package var source: String

  package init(_ count: Int, source: String) {
    self.count = count
    self.source = source
  }

  package var description: String { "\(count) (\(source))" }

  /// `APUS_THREADS`, else `OMP_NUM_THREADS`, else the processors that affinity and control groups grant.
  ///
  /// - Throws: `invalidArgument` for a variable that is no number of threads.
  package static func standard(_ environment: Environment = .current) throws -> ThreadCount {
    if let wish = try environment.threads() {
      return ThreadCount(wish.count, source: wish.variable)
    }
    let budget = ProcessorBudget.current
    return ThreadCount(min(budget.processors, Environment.mostThreads), source: budget.source)
  }
}

/// Threads that run plans together.
///
/// There is one for the process: runs from many tasks take turns on it instead of each bringing threads
/// of its own. It rests, asleep, between runs.
///
///     let team = try Team.shared()
///     print(team.threads)   // 2 (processor affinity)
package final class Team: Sendable {
  package let threads: ThreadCount
  /// Whether there are threads that have a processor each.
  private let canMeet: Bool

  /// The C side's team. Only used under `running`, and ended with this object.
  private struct Handle: @unchecked Sendable { let pointer: OpaquePointer }
  private let handle: Handle
  /// Held while a plan runs or scratch memory grows; the value is the bytes of scratch a thread has.
  private let running: Mutex<Int>

  /// A team of its own, for tests and measurements; everything else uses ``shared(threads:)``.
  ///
  /// - Throws: `invalidArgument` for a count outside 1…1024, `resource` where the system gives fewer
  ///   threads.
  package init(_ threads: ThreadCount) throws {
    guard (1...Environment.mostThreads).contains(threads.count) else {
      throw ApusError(
        .invalidArgument, "a team of \(threads.count) threads was asked for",
        expected: "1 to \(Environment.mostThreads) threads")
    }
    guard let pointer = ck_team_create(Int32(threads.count), 0) else {
      throw ApusError(
        .resource, "the system does not give \(threads.count) threads (from \(threads.source))",
        expected:
          "fewer threads: set APUS_THREADS, raise the process limit or OMP_THREAD_LIMIT, "
          + "unset KMP_LIBRARY")
    }
    self.threads = threads
    handle = Handle(pointer: pointer)
    // More threads than processors would wait for each other's turns, and long.
    canMeet = (2...max(2, ProcessorBudget.current.processors)).contains(threads.count)
    running = Mutex(0)
  }

  package convenience init(threads: Int) throws {
    try self.init(ThreadCount(threads, source: "a caller"))
  }

  deinit { ck_team_destroy(handle.pointer) }

  /// How long the threads take to meet now; nil where they have no processor each. A virtual machine may move
  /// its processors, so that they lie near each other or ten times as far apart from one minute to the next.
  package var barrierNanoseconds: Double? {
    canMeet ? running.withLock { _ in ck_team_barrier_nanoseconds(handle.pointer) } : nil
  }

  private static let current = Mutex<Team?>(nil)

  /// The process's team, made on first use.
  ///
  /// - `threads`: how many threads it must have; where that differs from what it has, a new team
  ///   takes its place (a run on the old one still ends there). Nil takes it as it is, or
  ///   ``ThreadCount/standard(_:)`` for the first.
  /// - Throws: as ``init(_:)`` and ``ThreadCount/standard(_:)``.
  package static func shared(threads: Int? = nil) throws -> Team {
    try current.withLock { current in
      if let team = current, threads == nil || threads == team.threads.count { return team }
      let count = try threads.map { ThreadCount($0, source: "a caller") } ?? ThreadCount.standard()
      let team = try Team(count)
      current = team
      return team
    }
  }

  /// Runs steps in order on all threads and returns when the last is done.
  ///
  /// - `scratchBytes`: what each thread's scratch must hold.
  /// - `nanoseconds`: where to write how long each step took; nil for the fast way, in which threads
  ///   wait for each other only where a step says so.
  /// - Throws: `resource` where there is no memory for the scratch.
  func run(
    _ steps: UnsafeBufferPointer<ck_step>, scratchBytes: Int,
    nanoseconds: UnsafeMutablePointer<Int64>? = nil
  ) throws {
    guard let base = steps.baseAddress else { return }
    try running.withLock { reserved in
      if scratchBytes > reserved {
        guard ck_team_reserve_scratch(handle.pointer, scratchBytes) else {
          throw ApusError(
            .resource, "no memory for \(scratchBytes) bytes of scratch for each thread",
            expected: "fewer threads or more memory")
        }
        reserved = scratchBytes
      }
      if let nanoseconds {
        ck_run_profiled(handle.pointer, base, steps.count, nanoseconds)
      } else {
        ck_run(handle.pointer, base, steps.count)
      }
    }
  }
}
