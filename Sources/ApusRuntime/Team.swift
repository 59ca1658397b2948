// The team of threads as Swift sees it: how many, why that many, and one for the whole process.

import ApusGraph
import CKernels
import Glibc
import Synchronization

/// How many threads a team has, and where the number comes from.
package struct ThreadCount: Sendable, Hashable, CustomStringConvertible {
  package var count: Int
  /// Such as "APUS_THREADS" or "processor affinity".
  package var source: String
  /// Whether fewer may work while other processes want the processors: not where somebody gave the number.
  package var adapts: Bool

  package init(_ count: Int, source: String, adapts: Bool = false) {
    self.count = count
    self.source = source
    self.adapts = adapts
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
    return ThreadCount(
      min(budget.processors, Environment.mostThreads), source: budget.source, adapts: true)
  }
}

/// Threads that run plans together.
///
/// There is one for the process: runs from many tasks take turns on it instead of each bringing threads
/// of its own. It rests, asleep, between runs. While other processes want the processors, fewer of its
/// threads may work (``TeamSize``); the bits do not depend on it.
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
  /// Held while a plan runs or scratch memory grows.
  private let running: Mutex<Work>

  private struct Work: Sendable {
    /// Bytes of scratch that a thread has.
    var reserved = 0
    var size: TeamSize
    /// A size that is not to be chosen, nor timed. For tests.
    var forced: Int?
    /// Nanoseconds that callers had slept after the latest run.
    var slept: Int64 = 0
    /// Teams of fewer threads, made where they are first wanted.
    var smaller: [Int: Team] = [:]
  }

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
    running = Mutex(Work(size: TeamSize(most: threads.count)))
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

  /// Runs `body` with so many of the threads at work. For tests.
  func withMembers<R>(_ members: Int, _ body: () throws -> R) rethrows -> R {
    let before = running.withLock { work in
      defer { work.forced = members }
      return work.forced
    }
    defer { running.withLock { $0.forced = before } }
    return try body()
  }

  /// Runs the steps of a plan in order and returns when the last is done. While other processes want the
  /// processors, fewer threads may do it; and where fewer are faster, of a short plan.
  ///
  /// - `steps`: the plan's steps for that many threads.
  /// - `work`: what the plan predicts for them, in any unit.
  /// - `scratchBytes`: what each thread's scratch must hold.
  /// - `short`: how many threads run a short plan; nil for any other.
  /// - Throws: `resource` where there is no memory for the scratch.
  func run(
    work: Double, scratchBytes: Int, short: ShortRunChoice?,
    steps: (_ threads: Int) -> UnsafeBufferPointer<ck_step>
  ) throws {
    try running.withLock { state in
      if let forced = state.forced {
        try run(steps(forced), on: forced, scratchBytes, &state)
        return
      }
      let granted = threads.adapts ? state.size.members : threads.count
      if threads.adapts, state.size.isMeasuring {
        let planned = steps(granted)
        let start = Self.seconds(CLOCK_MONOTONIC)
        let slept = sleep(of: granted, state)
        try run(planned, on: granted, scratchBytes, &state)
        let run = TeamSize.Run(
          work: work, start: start, end: Self.seconds(CLOCK_MONOTONIC),
          slept: Double(sleep(of: granted, state) - slept) * 1e-9)
        state.size.note(run) { Self.seconds(CLOCK_THREAD_CPUTIME_ID) }
        state.slept = ck_team_slept(handle.pointer)
        return
      }
      // Seldom with a look at the clock: a small plan takes as long as a few of those.
      if let short {
        let (isTimed, wish) = short.runs.withLock { ($0.isNextTimed(), $0.members) }
        let members = min(wish, granted)
        let planned = steps(members)
        let start = isTimed ? Self.seconds(CLOCK_MONOTONIC) : 0
        try run(planned, on: members, scratchBytes, &state)
        if isTimed {
          short.runs.withLock { $0.note(seconds: Self.seconds(CLOCK_MONOTONIC) - start) }
        }
      } else {
        try run(steps(granted), on: granted, scratchBytes, &state)
      }
      guard threads.adapts else { return }
      let slept = ck_team_slept(handle.pointer)
      if slept != state.slept {
        state.slept = slept
        state.size.noteSleep(at: Self.seconds(CLOCK_MONOTONIC))
      }
    }
  }

  /// Calls `body` for each part in `0..<parts`, on as many threads as there are, and returns when all are done.
  ///
  /// - `body`: runs nothing on this team.
  package func forEach(_ parts: Int, _ body: (Int) -> Void) {
    running.withLock { state in
      let members = state.forced ?? (threads.adapts ? state.size.members : threads.count)
      guard members == threads.count, members > 1 else {
        for part in 0..<parts { body(part) }
        return
      }
      withoutActuallyEscaping(body) { body in
        var work = PartedWork(parts: parts, body: body)
        withUnsafeMutablePointer(to: &work) { work in
          ck_team_each(
            handle.pointer,
            { context, index, count in
              let work = context!.assumingMemoryBound(to: PartedWork.self)
              for part in stride(from: Int(index), to: work.pointee.parts, by: Int(count)) {
                work.pointee.body(part)
              }
            }, work)
        }
      }
    }
  }

  private struct PartedWork {
    let parts: Int
    let body: (Int) -> Void
  }

  /// Runs steps on all threads.
  ///
  /// - `nanoseconds`: where to write how long each step took; nil for the fast way, in which threads
  ///   wait for each other only where a step says so.
  /// - Throws: as ``run(work:scratchBytes:steps:)``.
  func run(
    _ steps: UnsafeBufferPointer<ck_step>, scratchBytes: Int,
    nanoseconds: UnsafeMutablePointer<Int64>? = nil
  ) throws {
    try running.withLock {
      try run(steps, on: threads.count, scratchBytes, &$0, nanoseconds)
    }
  }

  /// Runs steps while the lock is held.
  private func run(
    _ steps: UnsafeBufferPointer<ck_step>, on members: Int, _ scratchBytes: Int,
    _ state: inout Work, _ nanoseconds: UnsafeMutablePointer<Int64>? = nil
  ) throws {
    guard let base = steps.baseAddress else { return }
    if members != threads.count {
      let team =
        try state.smaller[members] ?? Team(ThreadCount(members, source: threads.source))
      state.smaller[members] = team
      try team.run(steps, scratchBytes: scratchBytes)
      return
    }
    if scratchBytes > state.reserved {
      guard ck_team_reserve_scratch(handle.pointer, scratchBytes) else {
        throw ApusError(
          .resource, "no memory for \(scratchBytes) bytes of scratch for each thread",
          expected: "fewer threads or more memory")
      }
      state.reserved = scratchBytes
    }
    if let nanoseconds {
      ck_run_profiled(handle.pointer, base, steps.count, nanoseconds)
    } else {
      ck_run(handle.pointer, base, steps.count)
    }
  }

  private func sleep(of members: Int, _ state: Work) -> Int64 {
    let team = members == threads.count ? self : state.smaller[members]
    return team.map { ck_team_slept($0.handle.pointer) } ?? 0
  }

  private static func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
