// How many threads work while other processes want the processors: told as stories, and on a team.

import ApusGraph
import ApusOps
import Testing

@testable import ApusRuntime

@Suite struct TeamSizeTests {
  /// A machine on which a team of each size does so much a second, sleeping so much of it.
  private struct Machine {
    var rate: (Int) -> Double
    var slept: (Int) -> Double = { _ in 0.5 }
    var processor = 0.5
  }

  /// Runs for so many seconds and gives the work done, and the size at the end.
  private func work(
    _ size: inout TeamSize, on machine: Machine, seconds: Double, from start: Double = 0,
    run: Double = 0.003
  ) -> Double {
    var now = start, done = 0.0
    while now < start + seconds {
      let work = machine.rate(size.members) * run
      done += work
      now += run
      let slept = machine.slept(size.members) * run
      if size.isMeasuring {
        size.note(TeamSize.Run(work: work, start: now - run, end: now, slept: slept)) {
          machine.processor * now
        }
      } else if slept > 0 {
        size.noteSleep(at: now)
      }
    }
    return done
  }

  @Test func aQuietTeam_isNotEvenTimed() {
    var size = TeamSize(most: 2)
    _ = work(&size, on: Machine(rate: { _ in 1 }, slept: { _ in 0 }), seconds: 10)
    #expect(size.members == 2 && !size.isMeasuring)
  }

  @Test(arguments: [2, 8, 64]) func onABusyMachine_theBestSizeIsNearlyReached(most: Int) {
    for best in [1, 2, 4, 8, 64] where best <= most {
      // The further from the best size, the worse.
      let machine = Machine(rate: { 1 / (1 + abs(Double($0) - Double(best)) / Double(best)) })
      var size = TeamSize(most: most)
      _ = work(&size, on: machine, seconds: 5)
      let done = work(&size, on: machine, seconds: 60, from: 5)
      #expect(done > 0.9 * 60, "best is \(best) of \(most): \(done / 60)")
    }
  }

  @Test func whenTheMachineIsQuietAgain_allWorkWithinThreeSeconds() {
    var size = TeamSize(most: 2)
    let busy = Machine(rate: { $0 == 1 ? 1 : 0.3 })
    _ = work(&size, on: busy, seconds: 30)
    #expect(size.members == 1)
    let quiet = Machine(rate: { Double($0) }, slept: { _ in 0 }, processor: 1)
    _ = work(&size, on: quiet, seconds: 3, from: 30)
    #expect(size.members == 2)
    _ = work(&size, on: quiet, seconds: 2, from: 33)
    #expect(size.members == 2 && !size.isMeasuring)
  }

  @Test func aPlanWhoseMembersWaitForOneOfThem_keepsAllNearlyAlways() {
    // One long step that a member runs alone: the caller sleeps, and two are still faster.
    let machine = Machine(rate: { $0 == 2 ? 1.2 : 1 }, slept: { $0 == 2 ? 0.6 : 0 }, processor: 1)
    var size = TeamSize(most: 2)
    #expect(work(&size, on: machine, seconds: 60) > 0.98 * 1.2 * 60)
  }

  @Test func aTeamOfOne_isLeftAlone() {
    var size = TeamSize(most: 1)
    _ = work(&size, on: Machine(rate: { _ in 1 }), seconds: 2)
    #expect(size.members == 1 && !size.isMeasuring)
  }

  @Test func everySizeGivesTheSameBits() throws {
    let trace = Trace()
    Trace.$current.withValue(trace) {
      var x = trace.input("x", .f32(64, 96))
      let w = trace.input("w", .f32(96, 96))
      for _ in 0..<6 { x = relu(x.matmul(w)) - x.mean(axes: [0]) }
      trace.output("y", x)
      trace.output("sum", x.sum())
    }
    let graph = try trace.finish()
    let arrays = [
      NDArray((0..<64 * 96).map { Float($0 % 37) / 37 - 0.5 }, shape: [64, 96]),
      NDArray((0..<96 * 96).map { Float($0 % 41) / 410 - 0.05 }, shape: [96, 96]),
    ]
    let wanted = try Executable(graph, options: CompileOptions(threads: 1)).run(arrays)
    let executable = try Executable(graph, options: CompileOptions(threads: 8))
    for members in [8, 4, 2, 1, 3, 8] {
      let results = try executable.withMembers(members) { try executable.run(arrays) }
      #expect(results == wanted, "\(members) members")
    }
  }
}
