// `apus bench input`: its lines, and that what they say hangs together.

import Apus
import Testing

@testable import ApusBenchmarks

@Suite struct InputBenchmarkTests {
  @Test func everyWayOfPreparingHasALine_withItsShareOfAStep() throws {
    var printed: [String] = []
    let options = BenchmarkOptions(
      threads: 1, isa: .ref, seconds: 0.01, json: true, print: { printed.append($0) })
    let outcome = try benchmarkInput(
      batch: 4, images: 10, peaks: RooflineTests.outcome([]).peaks, options: options)
    #expect(printed == outcome.lines.map(\.text))
    let lines = outcome.lines.dropFirst()
    #expect(
      lines.map { $0["batches"]?.string } == [
        "ready", "ready, in turn", "as a trainer", "prepared ahead", "on demand",
        "preparation alone", "augmentation alone", "augmentation, as a trainer",
        "augmentation ahead",
      ])
    let times = lines.compactMap { $0["ms"]?.double },
      shares = lines.compactMap { $0["share"]?.double }
    #expect(times.count == 9 && times.allSatisfy { $0 > 0 } && shares[0] == 0)
    // What takes no step is told as a part of one, what takes one by what it takes more.
    #expect(abs(shares[5] - times[5] / times[0]) < 0.01 * shares[5] + 1e-6)
    #expect(abs(shares[2] - (times[2] / times[0] - 1)) < 0.01 * times[2] / times[0])
    // Augmentation is preparation and more.
    #expect(times[6] > times[5])
  }
}
