// How many threads run a short plan: told as stories, and on a team.

import ApusGraph
import ApusOps
import Testing

@testable import ApusRuntime

@Suite struct ShortRunsTests {
  /// Runs for so many seconds on a machine where a run takes that long by its size, and gives the time that
  /// was spent on each size.
  private func work(
    _ runs: inout ShortRuns, seconds: Double, run: (Int) -> Double
  ) -> [Int: Double] {
    var now = 0.0
    var spent: [Int: Double] = [:]
    while now < seconds {
      let isTimed = runs.isNextTimed()
      let taken = run(runs.members)
      spent[runs.members, default: 0] += taken
      now += taken
      if isTimed { runs.note(seconds: taken) }
    }
    return spent
  }

  @Test(arguments: [2, 8, 64]) func theFastestSizeHasNearlyAllRuns(most: Int) {
    for best in [1, 2, 4, 8, 64] where best <= most {
      var runs = ShortRuns(most: most)
      func run(_ size: Int) -> Double {
        // The further from the best size, the worse.
        let doublings = abs(size.trailingZeroBitCount - best.trailingZeroBitCount)
        return 30e-6 * (1 + 0.3 * Double(doublings))
      }
      _ = work(&runs, seconds: 2, run: run)
      let spent = work(&runs, seconds: 20, run: run)
      #expect(spent[best, default: 0] > 0.98 * 20, "best is \(best) of \(most): \(spent)")
    }
  }

  @Test func whereProcessorsMoveApart_oneThreadRunsWithinFiveSeconds_andTwoAgain() {
    var runs = ShortRuns(most: 2)
    _ = work(&runs, seconds: 30) { $0 == 2 ? 25e-6 : 27e-6 }
    #expect(runs.members == 2)
    _ = work(&runs, seconds: 5) { $0 == 2 ? 75e-6 : 27e-6 }
    #expect(runs.members == 1)
    _ = work(&runs, seconds: 5) { $0 == 2 ? 25e-6 : 27e-6 }
    #expect(runs.members == 2)
  }

  @Test func twoSizesThatAreNearlyEqual_areNotSwitched() {
    var runs = ShortRuns(most: 2)
    var sizes: Set<Int> = []
    for _ in 0..<1000 {
      _ = work(&runs, seconds: 0.1) { $0 == 2 ? 100e-6 : 98e-6 }
      if !runs.isNextTimed() { sizes.insert(runs.members) }
    }
    #expect(sizes == [2])
  }

  @Test func aRunThatWasHeldUp_doesNotDecide() {
    var runs = ShortRuns(most: 2)
    var count = 0
    _ = work(&runs, seconds: 3) { size in
      count += 1
      // The scheduler takes a processor away now and then.
      return size == 2 ? (count.isMultiple(of: 5) ? 4e-3 : 50e-6) : 90e-6
    }
    #expect(runs.members == 2)
  }

  @Test func fewRunsAreTimed() {
    var runs = ShortRuns(most: 2)
    var timed = 0
    for _ in 0..<1_000_000 where runs.isNextTimed() {
      timed += 1
      runs.note(seconds: runs.members == 2 ? 20e-6 : 35e-6)
    }
    #expect(timed > 0 && timed < 500, "\(timed)")
  }

  @Test func timedRunsGiveTheSameBits() throws {
    let trace = Trace()
    Trace.$current.withValue(trace) {
      let x = trace.input("x", .f32(64, 96)), w = trace.input("w", .f32(96, 96))
      trace.output("y", relu(x.matmul(w)))
    }
    let graph = try trace.finish()
    let arrays = [
      NDArray((0..<64 * 96).map { Float($0 % 37) / 37 - 0.5 }, shape: [64, 96]),
      NDArray((0..<96 * 96).map { Float($0 % 41) / 410 - 0.05 }, shape: [96, 96]),
    ]
    let wanted = try Executable(graph, options: CompileOptions(threads: 1)).run(arrays)
    let executable = try Executable(graph, options: CompileOptions(threads: 8))
    #expect(executable.schedule.needsTeam)
    for run in 0..<200 {
      #expect(try executable.run(arrays) == wanted, "run \(run)")
    }
  }
}
