// Medians and quartiles, and how many timings they are taken of.

import Testing

@testable import ApusBenchmarks

@Suite struct StatisticsTests {
  @Test(arguments: [
    ([3.0], 3.0, 3.0, 3.0), ([1, 2], 1.5, 1.25, 1.75), ([9, 1, 5], 5, 3, 7),
    ([4, 1, 3, 2], 2.5, 1.75, 3.25), ([5, 1, 4, 2, 3], 3, 2, 4),
    ([1, 1, 1, 1, 1, 1, 1, 100], 1, 1, 1),
  ])
  func quartiles_areNumPys(samples: [Double], median: Double, lower: Double, upper: Double) {
    let timing = Timing(samples: samples, repetitions: samples.count)
    #expect(timing.median == median)
    #expect(timing.lowerQuartile == lower)
    #expect(timing.upperQuartile == upper)
    #expect(timing.minimum == samples.min())
  }

  /// Takes a fixed time, and longer in its first repetitions.
  private final class Pretence: Side {
    let name = "pretence"
    var calls: [Int] = []
    let secondsEach: Double
    init(_ secondsEach: Double) { self.secondsEach = secondsEach }
    func run(_ count: Int) -> Double {
      calls.append(count)
      return secondsEach * Double(count)
    }
  }

  @Test func eachSide_hasTwentyBlocksAndItsTime() throws {
    let slow = Pretence(0.3), fast = Pretence(1e-5)
    let timings = try timeInTurns([slow, fast], seconds: 1)
    #expect(abs(timings[0].median - 0.3) < 1e-12 && abs(timings[1].median - 1e-5) < 1e-15)
    #expect(timings[0].repetitions >= 20)
    // Blocks of the fast side are long enough for the clock.
    #expect(Double(fast.calls.last ?? 0) * 1e-5 >= 0.04)
    #expect(Double(timings[1].repetitions) * 1e-5 >= 1)
  }

  /// A step of a second is taken twice a block, not four times: once untimed, once timed.
  @Test func longSteps_areNotWarmedUpTwice_andTheTimeIsForetold() throws {
    let slow = Pretence(1.5), fast = Pretence(0.3)
    var told: [Double] = []
    _ = try timeInTurns([slow, fast], seconds: 1) { told.append($0) }
    #expect(slow.calls == [Int](repeating: 1, count: 21))
    #expect(told.count == 1 && abs(told[0] - 20 * 2 * 1.8) < 1e-9)
    #expect(warmUp(before: (count: 100, seconds: 0.1)) == 20)
    #expect(warmUp(before: (count: 1, seconds: 0.005)) == 4)
  }

  /// What ran on another side before a block does not reach into it.
  @Test func sidesThatAlternate_runUntimedBeforeTheirBlocks() throws {
    let alone = Pretence(1e-3), one = Pretence(1e-3), other = Pretence(1e-3)
    let timing = try timeInTurns([alone], seconds: 0.1)[0]
    let timings = try timeInTurns([one, other], seconds: 0.1)
    #expect(timing.repetitions == timings[0].repetitions)
    let blocks = one.calls.count - alone.calls.count
    let untimed = one.calls.reduce(0, +) - alone.calls.reduce(0, +)
    #expect(blocks >= 20 && (20 * blocks...21 * blocks).contains(untimed))
  }
}
