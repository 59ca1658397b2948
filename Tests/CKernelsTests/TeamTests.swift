// The team of threads: every member runs every step, barriers order what members write, steps from
// many threads take turns, and the caller's floating-point state survives. Kernels here are Swift
// functions with the C calling convention.

import CKernels
import Foundation
import Testing

/// A team that ends with its scope.
private final class TestTeam: @unchecked Sendable {
  let pointer: OpaquePointer

  init(_ threads: Int, scratch: Int = 256) throws {
    pointer = try #require(ck_team_create(Int32(threads), scratch))
  }

  deinit { ck_team_destroy(pointer) }

  func run(_ steps: [ck_step]) { ck_run(pointer, steps, steps.count) }
}

/// Memory whose address stays put, so that it can stand in a step.
private final class Cells: @unchecked Sendable {
  let base: UnsafeMutablePointer<Int64>
  let count: Int

  init(_ count: Int) {
    self.count = count
    base = .allocate(capacity: count)
    base.initialize(repeating: 0, count: count)
  }

  deinit { base.deallocate() }

  subscript(index: Int) -> Int64 { base[index] }
}

private func step(
  _ kernel: @escaping ck_kernel, _ cells: Cells, alone: Bool = false, barrier: Bool = true
) -> ck_step {
  ck_step(
    kernel: kernel, args: UnsafeRawPointer(cells.base), threads: alone ? 1 : 0,
    barrier: barrier ? 1 : 0, condition: nil)
}

private func cells(_ args: UnsafeRawPointer?) -> UnsafeMutablePointer<Int64> {
  UnsafeMutablePointer(mutating: args!.assumingMemoryBound(to: Int64.self))
}

/// Cell `index + 1` becomes the sum of its neighbours' previous values, in two buffers by turns:
/// wrong as soon as one barrier lets a member run ahead. Cell 0 counts the steps.
private let ringSize = 64
private let ring: ck_kernel = { args, thread in
  let base = cells(args)
  let turn = Int(base[0])
  let from = base + 1 + (turn % 2) * ringSize
  let to = base + 1 + ((turn + 1) % 2) * ringSize
  var begin: Int64 = 0
  var end: Int64 = 0
  ck_share(Int64(ringSize), thread, &begin, &end)
  for index in Int(begin)..<Int(end) {
    to[index] = from[(index + 1) % ringSize] &* 3 &+ from[(index + ringSize - 1) % ringSize]
  }
}
private let countStep: ck_kernel = { args, _ in cells(args)[0] += 1 }

private func expectedRing(steps: Int) -> [Int64] {
  var values = (0..<ringSize).map { Int64($0) }
  for _ in 0..<steps {
    values = (0..<ringSize).map {
      values[($0 + 1) % ringSize] &* 3 &+ values[($0 + ringSize - 1) % ringSize]
    }
  }
  return values
}

private func seededRing() -> Cells {
  let state = Cells(1 + 2 * ringSize)
  for index in 0..<ringSize { state.base[1 + index] = Int64(index) }
  return state
}

/// `rounds` times: every member adds one to its cell, meets the others, and checks theirs.
private let barrierRounds = 3000
private let meet: ck_kernel = { args, thread in
  let base = cells(args)
  let t = thread!.pointee
  let mine = base + 1 + 16 * Int(t.index)
  for round in 1...barrierRounds {
    mine.pointee += 1
    ck_barrier(thread)
    for other in 0..<Int(t.count) where base[1 + 16 * other] != Int64(round) {
      mine[1] += 1
    }
    ck_barrier(thread)
  }
}

private let recordThread: ck_kernel = { args, thread in
  let base = cells(args)
  let t = thread!.pointee
  base[4 * Int(t.index)] += 1
  base[4 * Int(t.index) + 1] = Int64(t.count)
  base[4 * Int(t.index) + 2] = Int64(Int(bitPattern: t.scratch) % 64)
  base[4 * Int(t.index) + 3] = Int64(t.scratch_bytes)
  let scratch = t.scratch.assumingMemoryBound(to: UInt8.self)
  for byte in 0..<t.scratch_bytes { scratch[byte] = UInt8(truncatingIfNeeded: Int(t.index) + 1) }
  ck_barrier(thread)
  for byte in 0..<t.scratch_bytes
  where scratch[byte] != UInt8(truncatingIfNeeded: Int(t.index) + 1) {
    base[4 * Int(t.index)] = -1
  }
}

/// The product of two numbers whose exact product is a denormal, into each member's cell.
private let denormalProduct: ck_kernel = { args, thread in
  let base = cells(args)
  let small = Float(bitPattern: UInt32(truncatingIfNeeded: base[0]))
  base[1 + Int(thread!.pointee.index)] = Int64((small * 0.25).bitPattern)
}

private let addOneUnlocked: ck_kernel = { args, _ in
  let base = cells(args)
  base[0] = base[0] &+ 1
}

private let recordIdentifier: ck_kernel = { args, thread in
  // "PROCESS/task/THREAD"; Glibc's gettid is not in the module.
  var link = [UInt8](repeating: 0, count: 64)
  let length = link.withUnsafeMutableBytes { readlink("/proc/thread-self", $0.baseAddress!, 64) }
  let text = String(decoding: link.prefix(max(0, length)), as: UTF8.self)
  cells(args)[Int(thread!.pointee.index)] = Int64(text.split(separator: "/").last ?? "") ?? -1
}

private let slowStep: ck_kernel = { args, thread in
  if thread!.pointee.index == 0 { usleep(2000) }
}

private let nothing: ck_kernel = { _, _ in }

@Suite struct TeamTests {
  @Test(arguments: [1, 2, 3, 7])
  func everyMemberRunsEveryStepOnceWithItsOwnScratch(threads: Int) throws {
    let team = try TestTeam(threads, scratch: 1000)
    #expect(ck_team_threads(team.pointer) == Int32(threads))
    let seen = Cells(4 * threads)
    team.run([step(recordThread, seen)])
    for index in 0..<threads {
      #expect(seen[4 * index] == 1)
      #expect(seen[4 * index + 1] == Int64(threads))
      #expect(seen[4 * index + 2] == 0)
      #expect(seen[4 * index + 3] == 1000)
    }
  }

  @Test(arguments: [1, 2, 3, 7])
  func barriersOrderThousandsOfStepsOfOnePlan(threads: Int) throws {
    let team = try TestTeam(threads)
    let state = seededRing()
    let steps = 2000
    let plan = (0..<steps).flatMap { _ in
      [step(ring, state), step(countStep, state, alone: true)]
    }
    team.run(plan)
    #expect(state[0] == Int64(steps))
    let expected = expectedRing(steps: steps)
    let final = 1 + (steps % 2) * ringSize
    #expect((0..<ringSize).map { state[final + $0] } == expected)
  }

  @Test(arguments: [1, 2, 3, 7])
  func theEndOfARunOrdersItBeforeTheNext(threads: Int) throws {
    let team = try TestTeam(threads)
    let state = seededRing()
    for _ in 0..<2000 {
      team.run([step(ring, state, barrier: false)])
      state.base[0] += 1
    }
    let expected = expectedRing(steps: 2000)
    #expect((0..<ringSize).map { state[1 + $0] } == expected)
  }

  @Test(arguments: [1, 2, 3, 7])
  func aBarrierInsideAKernelHoldsEveryMember(threads: Int) throws {
    let team = try TestTeam(threads)
    let state = Cells(1 + 16 * threads)
    team.run([step(meet, state)])
    for index in 0..<threads {
      #expect(state[1 + 16 * index] == Int64(barrierRounds))
      #expect(state[2 + 16 * index] == 0, "member \(index) saw a peer out of step")
    }
  }

  @Test func aStepForOneThreadRunsOnMemberZeroAlone() throws {
    let team = try TestTeam(3)
    let seen = Cells(4 * 3)
    team.run([
      step(recordThread, seen, alone: true), step(nothing, seen),
      step(recordThread, seen, alone: true),
    ])
    #expect(seen[0] == 2 && seen[1] == 1)
    #expect(seen[4] == 0 && seen[8] == 0)
  }

  @Test func aPlanOfNoStepsAndAPlanOfSmallStepsReturn() throws {
    let team = try TestTeam(2)
    let state = Cells(1)
    team.run([])
    team.run([step(countStep, state, alone: true), step(countStep, state, alone: true)])
    #expect(state[0] == 2)
  }

  @Test(arguments: [1, 2, 5])
  func runsFromManyThreadsTakeTurns(threads: Int) throws {
    let team = try TestTeam(threads)
    let total = Cells(1)
    let rings = (0..<8).map { _ in seededRing() }
    DispatchQueue.concurrentPerform(iterations: 8) { caller in
      let state = rings[caller]
      for _ in 0..<300 {
        team.run([
          step(ring, state), step(countStep, state, alone: true),
          step(addOneUnlocked, total, alone: true),
        ])
      }
    }
    #expect(total[0] == 8 * 300)
    let expected = expectedRing(steps: 300)
    for state in rings { #expect((0..<ringSize).map { state[1 + $0] } == expected) }
  }

  @Test func aTeamThatFellAsleepWakes() throws {
    let team = try TestTeam(3)
    let state = seededRing()
    for _ in 0..<20 {
      usleep(3000)  // many times the spin
      team.run([step(slowStep, state), step(ring, state), step(countStep, state, alone: true)])
    }
    #expect((0..<ringSize).map { state[1 + $0] } == expectedRing(steps: 20))
  }

  /// Woken on the caller's processor, a member would share it for as long as a step takes.
  @Test func membersTakeProcessorsOfTheirOwnAfterAPause() throws {
    let threads = min(Int(ck_processors()), 4)
    guard threads > 1 else { return }
    let team = try TestTeam(threads)
    let places = Cells(threads)
    let runs = 100
    var apart = 0
    for _ in 0..<runs {
      usleep(2000)
      team.run([
        step(
          { args, thread in cells(args)[Int(thread!.pointee.index)] = Int64(processorNow()) },
          places)
      ])
      if Set((0..<threads).map { places[$0] }).count == threads { apart += 1 }
    }
    // The system may move a thread at any moment.
    #expect(apart >= runs * 9 / 10)
  }

  @Test func membersSleepWhileTheTeamRests() throws {
    let team = try TestTeam(4)
    let identifiers = Cells(4)
    team.run([step(recordIdentifier, identifiers)])
    usleep(20_000)
    let before = (1..<4).map { processorTicks(ofThread: identifiers[$0]) }
    usleep(300_000)
    for member in 1..<4 {
      // A tick is 10 ms: a member that spun would have used up to thirty.
      let used = try #require(processorTicks(ofThread: identifiers[member]))
      #expect(used - (before[member - 1] ?? 0) <= 3)
    }
  }

  @Test func aForkedChildRunsOnItsOwnThread() throws {
    typealias Fork = @convention(c) () -> Int32
    let symbol = try #require(dlsym(UnsafeMutableRawPointer(bitPattern: 0), "fork"))
    let fork = unsafeBitCast(symbol, to: Fork.self)
    let team = try TestTeam(3)
    let state = seededRing()
    let plan = [step(ring, state), step(countStep, state, alone: true)]
    let length = plan.count
    let child = plan.withUnsafeBufferPointer { steps in
      let child = fork()
      if child == 0 {
        ck_run(team.pointer, steps.baseAddress, length)
        _exit(state.base[0] == 1 ? 42 : 1)
      }
      return child
    }
    try #require(child > 0)
    var status: Int32 = 0
    #expect(waitpid(child, &status, 0) == child)
    #expect(status >> 8 == 42)
    team.run(plan)
    #expect((0..<ringSize).map { state[1 + ringSize + $0] } == expectedRing(steps: 1))
  }

  @Test func teamsComeAndGo() throws {
    for threads in [2, 5, 1, 3, 2, 7] {
      let team = try TestTeam(threads)
      let state = seededRing()
      team.run([step(ring, state)])
      #expect((0..<ringSize).map { state[1 + ringSize + $0] } == expectedRing(steps: 1))
    }
  }

  @Test func twoTeamsWorkSideBySide() throws {
    let teams = [try TestTeam(2), try TestTeam(3)]
    let rings = teams.map { _ in seededRing() }
    DispatchQueue.concurrentPerform(iterations: 2) { which in
      let state = rings[which]
      for _ in 0..<200 {
        teams[which].run([step(ring, state), step(countStep, state, alone: true)])
      }
    }
    for state in rings {
      #expect((0..<ringSize).map { state[1 + $0] } == expectedRing(steps: 200))
    }
  }

  @Test func scratchGrowsAndNeverShrinks() throws {
    let team = try TestTeam(2, scratch: 64)
    #expect(ck_team_reserve_scratch(team.pointer, 3 << 20))
    #expect(ck_team_reserve_scratch(team.pointer, 100))
    let seen = Cells(8)
    team.run([step(recordThread, seen)])
    for index in 0..<2 {
      #expect(seen[4 * index] == 1 && seen[4 * index + 3] == 3 << 20)
    }
  }

  @Test func impossibleTeamsAreRefused() {
    #expect(ck_team_create(0, 0) == nil)
    #expect(ck_team_create(-3, 0) == nil)
    #expect(ck_team_create(1 << 20, 0) == nil)
    #expect(ck_team_create(1, Int.max - 4096) == nil)
  }

  #if arch(x86_64) || arch(arm64)
    @Test(arguments: [1, 3])
    func denormalsAreFlushedDuringARunAndKeptOutside(threads: Int) throws {
      let team = try TestTeam(threads)
      let state = Cells(1 + threads)
      let smallest = Float.leastNormalMagnitude
      state.base[0] = Int64(smallest.bitPattern)
      for index in 0..<threads { state.base[1 + index] = -1 }
      team.run([step(denormalProduct, state)])
      for index in 0..<threads { #expect(state[1 + index] == 0) }
      // Read back through memory, so that the product is computed now and not by the compiler.
      let again = Float(bitPattern: UInt32(truncatingIfNeeded: state[0])) * 0.25
      #expect(again.bitPattern != 0)
    }
  #endif

  @Test func aProfiledRunTimesEveryStep() throws {
    let team = try TestTeam(2)
    let state = seededRing()
    let plan = [
      step(ring, state, barrier: false), step(slowStep, state), step(countStep, state, alone: true),
    ]
    var nanoseconds = [Int64](repeating: -1, count: plan.count)
    ck_run_profiled(team.pointer, plan, plan.count, &nanoseconds)
    #expect(nanoseconds.allSatisfy { $0 >= 0 })
    #expect(nanoseconds[1] >= 2_000_000)
    #expect(state[0] == 1)
  }
}

/// The processor that the calling thread is on: a function of the C library that Swift does not import.
private let processorNow: @convention(c) () -> Int32 = unsafeBitCast(
  dlsym(nil, "sched_getcpu"), to: (@convention(c) () -> Int32).self)

/// User and system time of one thread of this process, in hundredths of a second.
private func processorTicks(ofThread identifier: Int64) -> Int? {
  let path = "/proc/self/task/\(identifier)/stat"
  guard let text = try? String(contentsOfFile: path, encoding: .utf8)
  else { return nil }
  // The fields after the name, which is in parentheses and may hold spaces: state is the first.
  let fields = text[text.lastIndex(of: ")")!...].split(separator: " ")
  guard let user = Int(fields[12]), let system = Int(fields[13]) else { return nil }
  return user + system
}

@Suite struct MeetingTests {
  @Test(arguments: [Int32(1), 2, 7]) func membersTakeALittleTimeToMeet(threads: Int32) throws {
    let team = try #require(ck_team_create(threads, 0))
    defer { ck_team_destroy(team) }
    let nanoseconds = ck_team_barrier_nanoseconds(team)
    // Seven threads on two processors wait for each other's turns.
    #expect(nanoseconds >= 0 && nanoseconds < 1e8)
    if threads > 1 { #expect(nanoseconds > 10) }
  }

  /// Members that have all lost their patience must find it again: else each would be woken so late that the
  /// next one sleeps as well, and every step of a fast loop would take ten times as long for ever.
  @Test(.enabled(if: ck_processors() > 1)) func patienceComesBackWithShortWaits() throws {
    let team = try #require(ck_team_create(2, 0))
    defer { ck_team_destroy(team) }
    let nothing: ck_kernel = { _, _ in }
    var step = ck_step()
    step.kernel = nothing
    #expect(ck_team_patience(team, 1) == 1)
    // Longer than any spin, as while data are read.
    for _ in 0..<24 where ck_team_patience(team, 1) > 0.02 {
      ck_run(team, &step, 1)
      usleep(5000)
    }
    ck_run(team, &step, 1)
    #expect(ck_team_patience(team, 1) < 0.1)
    // Longer than the least spin and shorter than the longest. The machine may be busy: one short wait is
    // enough, of as many as it takes.
    var hasRecovered = false
    for _ in 0..<2000 where !hasRecovered {
      let start = clock_gettime_nsec()
      while clock_gettime_nsec() - start < 40_000 {}
      ck_run(team, &step, 1)
      hasRecovered = ck_team_patience(team, 1) == 1
    }
    #expect(hasRecovered)
  }
}

private func clock_gettime_nsec() -> Int {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}
