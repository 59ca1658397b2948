// The machine's peaks: measured with each member of the team on a processor of its own.

import Apus
import CKernels
import Foundation
import Testing

@testable import ApusBenchmarks

@Suite(.serialized) struct MachinePeaksTests {
  /// The processors that each member may run on, as the members see it.
  private func affinities(of team: BenchmarkTeam) -> [Set<Int>] {
    let width = MemoryLayout<ck_bench_places>.stride
    let memory = AlignedMemory(byteCount: width * team.threads)
    team.run(
      { arguments, thread in
        let seen = UnsafeMutableRawPointer(mutating: arguments!).assumingMemoryBound(
          to: ck_bench_places.self)
        _ = ck_bench_places_read(seen + Int(thread!.pointee.index))
      }, memory.address)
    return (0..<team.threads).map { member in
      let bytes = UnsafeRawBufferPointer(
        start: memory.address.advanced(by: member * width), count: width)
      return Set((0..<8 * width).filter { bytes[$0 / 8] >> ($0 % 8) & 1 == 1 })
    }
  }

  @Test func members_haveAProcessorEach_whileTheyMeasure() throws {
    let processors = Int(ck_processors())
    let team = try BenchmarkTeam(threads: processors)
    let free = affinities(of: team)
    #expect(free.allSatisfy { $0.count == processors })
    try team.takePlaces()
    let tied = affinities(of: team)
    #expect(tied.allSatisfy { $0.count == 1 })
    #expect(Set(tied).count == processors, "two members share a processor: \(tied)")
    #expect(tied.allSatisfy { $0.isSubset(of: free[0]) })
    team.leavePlaces()
    #expect(affinities(of: team) == free)
  }

  @Test func measuring_leavesTheCallerFree() throws {
    let before = affinities(of: try BenchmarkTeam(threads: 1))
    _ = try MachinePeaks.measured(threads: Int(ck_processors()), isa: .ref)
    #expect(affinities(of: try BenchmarkTeam(threads: 1)) == before)
  }

  @Test func moreMembersThanProcessors_stayFree() throws {
    let team = try BenchmarkTeam(threads: Int(ck_processors()) + 1)
    let free = affinities(of: team)
    try team.takePlaces()
    #expect(affinities(of: team) == free)
  }

  /// The second measurement used to come out at half of the first, or a fraction of it, where the
  /// members of its team were put on one processor.
  @Test func busyProcesses_doNotNarrowThePeak() throws {
    let processors = Int(ck_processors())
    let isa = Apus.Environment.availableISAs.last ?? .ref
    let alone = try MachinePeaks.measured(threads: 1, isa: isa)
    let hog = Process()
    hog.executableURL = URL(filePath: "/bin/sh")
    hog.arguments = ["-c", "while :; do :; done"]
    try hog.run()
    defer {
      // A test's thread may have the milder signals blocked, and its children with it.
      kill(hog.processIdentifier, SIGKILL)
      hog.waitUntilExit()
    }
    // One of three may meet other work on all processors for as long as it measures.
    let speeds = try (0..<3).map { _ in
      try MachinePeaks.measured(threads: processors, isa: isa).gigaflops
    }
    let whole = Double(processors) * alone.gigaflops
    #expect(speeds.count { $0 > 0.7 * whole } >= 2, "\(speeds) of \(whole)")
  }

  @Test(arguments: Apus.Environment.availableISAs)
  func everyLevel_hasItsPeaks(isa: ISA) throws {
    let peaks = try MachinePeaks.measured(threads: 1, isa: isa)
    #expect(peaks.gigaflops > 0.1)
    #expect((peaks.bf16Gigaflops ?? 0 > 0) == (isa >= .avx512bf16))
    #expect(peaks.copies.last?.level == "memory")
    #expect(peaks.copies.allSatisfy { $0.gigabytesPerSecond > 0.1 })
    #expect(peaks.copies.allSatisfy { $0.readGigabytesPerSecond ?? 0 > 0.1 })
    for copy in peaks.copies { #expect(peaks.json["reads"]?[copy.level]?.double ?? 0 > 0.1) }
    #expect(peaks.json["bf16_gflops"]?.double ?? 0 > 0 || isa < .avx512bf16)
  }

  @Test func dotProducts_areAddedUp() throws {
    guard let kernel = ck_bench_dot(ck_isa_best()) else { return }
    let sink = AlignedMemory(byteCount: 64)
    var arguments = ck_bench_fma_args(sink: sink.floats, rounds: 3, a: 0.5, b: 3)
    try BenchmarkTeam(threads: 1).run(kernel, &arguments)
    // 12 chains that start at 0, 1, ... 11; a round adds 2 * 0.5 * 3, or as much less in the other half.
    let sums = (0..<16).map { sink.floats[$0] }
    #expect(
      sums == [Float](repeating: 66 + 108, count: 8) + [Float](repeating: 66 - 108, count: 8)
        || sums == [Float](repeating: 66 - 108, count: 8) + [Float](repeating: 66 + 108, count: 8))
  }
}
