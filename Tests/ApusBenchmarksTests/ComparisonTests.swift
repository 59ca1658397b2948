// Comparisons of runs, on made files.

import Apus
import Foundation
import Testing

@testable import ApusBenchmarks

@Suite struct ComparisonTests {
  private func line(
    _ name: String, ms: Double, spread: Double = 0.01, extra: String = ""
  ) -> String {
    """
    {"bench":"gemm","case":"\(name)","precision":"highest","isa":"avx2","kernel":"k","threads":2,\
    "ms":\(ms),"p25_ms":\(ms * (1 - spread)),"p75_ms":\(ms * (1 + spread)),"runs":20\(extra)}
    """
  }

  private func file(_ name: String, _ lines: String...) throws -> BenchmarkFile {
    try BenchmarkFile(name: name, bytes: Array((lines.joined(separator: "\n") + "\n").utf8))
  }

  private func compare(_ old: BenchmarkFile, _ new: BenchmarkFile) -> BenchmarkComparison {
    BenchmarkComparison(old: old, new: new)
  }

  private func verdicts(_ comparison: BenchmarkComparison) -> [String] {
    comparison.entries.map(\.verdict.rawValue)
  }

  @Test func whatMovedBeyondTheSpread_isTold() throws {
    let comparison = compare(
      try file("old", line("1x1x1", ms: 10), line("2x2x2", ms: 10), line("3x3x3", ms: 10)),
      try file("new", line("1x1x1", ms: 12), line("2x2x2", ms: 8), line("3x3x3", ms: 10.1)))
    #expect(verdicts(comparison) == ["slower", "faster", "same"])
    #expect(comparison.hasSlower)
    let text = comparison.text(colour: false)
    #expect(text[2].hasPrefix("gemm 1x1x1 highest avx2 2 threads") && text[2].contains("+20.0 %"))
    #expect(text[3].contains("-20.0 %"))
    #expect(text.last == "1 slower, 1 faster, 1 the same within the noise")
  }

  @Test func spreadOfEitherRun_isNoise() throws {
    for (old, new) in [(0.3, 0.01), (0.01, 0.3), (0.15, 0.15)] {
      let comparison = compare(
        try file("old", line("1x1x1", ms: 10, spread: old)),
        try file("new", line("1x1x1", ms: 12, spread: new)))
      #expect(verdicts(comparison) == ["same"], "\(old), \(new)")
      #expect(!comparison.hasSlower)
    }
  }

  @Test func changesTooSmallToCareAbout_areNoise() throws {
    for (ms, verdict) in [(10.29, "same"), (10.31, "slower"), (9.72, "same"), (9.70, "faster")] {
      let comparison = compare(
        try file("old", line("1x1x1", ms: 10, spread: 0.001)),
        try file("new", line("1x1x1", ms: ms, spread: 0.001)))
      #expect(verdicts(comparison) == [verdict], "\(ms)")
    }
  }

  @Test func casesOfOneRun_areListedAndNotJudged() throws {
    let comparison = compare(
      try file("old", line("1x1x1", ms: 10), line("2x2x2", ms: 1)),
      try file("new", line("1x1x1", ms: 10), line("3x3x3", ms: 99)))
    #expect(!comparison.hasSlower)
    let text = comparison.text(colour: false)
    #expect(text.contains("not run now: gemm 2x2x2 highest avx2 2 threads"))
    #expect(text.contains("not in old: gemm 3x3x3 highest avx2 2 threads"))
    #expect(comparison.lines.compactMap { $0["verdict"]?.string } == ["same", "not run", "new"])
  }

  @Test func settings_tellCasesApart() throws {
    let old = try file(
      "old", line("1x1x1", ms: 10), line("1x1x1", ms: 20, extra: #","packed":true"#),
      line("1x1x1", ms: 30, extra: #","transpose":"nt""#))
    #expect(old.timings.count == 3)
    // The later of two lines about one case counts; the kernel is not part of the case.
    let twice = try file(
      "old", line("1x1x1", ms: 10),
      line("1x1x1", ms: 11).replacing(#""kernel":"k""#, with: #""kernel":"better""#))
    #expect(twice.timings.map(\.median) == [11])
  }

  @Test func peersAndTheMachine_areNotCompared() throws {
    let old = try file(
      "old", #"{"bench":"machine","gflops":236}"#, line("1x1x1", ms: 10),
      line("1x1x1", ms: 1, extra: #","peer":"torch""#), "")
    #expect(old.timings.map(\.median) == [10])
  }

  @Test func trainingLines_areCompared() throws {
    func training(_ ms: Double) -> String {
      """
      {"bench":"train","workload":"gpt","precision":"highest","threads":2,"ms":\(ms),"batch":8,\
      "p25_ms":\(ms),"p75_ms":\(ms)}
      """
    }
    let comparison = compare(try file("old", training(10)), try file("new", training(20)))
    #expect(comparison.entries.map(\.new.key) == ["train gpt batch 8 highest 2 threads"])
    #expect(comparison.hasSlower)
  }

  @Test(arguments: [
    ("{", 1, "a member has no name"), ("[1]", 1, "no object"), (#"{"ms":1}"#, 1, "no 'bench'"),
    (#"{"bench":"gemm"}"#, 1, "no 'case'"), (#"{"bench":"train","case":"x"}"#, 1, "no 'workload'"),
    (#"{"bench":"gemm","case":"x"}"#, 1, "'ms' is missing"),
    (#"{"bench":"gemm","case":"x","ms":"fast"}"#, 1, "'ms'"),
    (#"{"bench":"gemm","case":"x","ms":-1}"#, 1, "'ms' is -1"),
    (#"{"bench":"gemm","case":"x","ms":1}"#, 1, "'p25_ms' is missing"),
    (#"{"bench":"gemm","case":"x","ms":1,"p25_ms":2,"p75_ms":3}"#, 1, "not between"),
    ("\n\n{\"bench\":\"machine\"}\nnothing", 4, "unknown word"),
  ])
  func badLines_areNamed(text: String, number: Int, words: String) throws {
    do {
      _ = try BenchmarkFile(name: "old.json", bytes: Array(text.utf8))
      Issue.record("nothing was thrown")
    } catch let error as ApusError {
      #expect(error.kind == .invalidFile)
      #expect(error.location == "old.json, line \(number)")
      #expect(error.what.contains(words), "\(error)")
    }
  }

  @Test func emptyAndMissingFiles_areRefused() throws {
    #expect(throws: ApusError.self) { try BenchmarkFile(name: "old.json", bytes: []) }
    do {
      _ = try BenchmarkFile(path: "/nowhere/old.json")
      Issue.record("nothing was thrown")
    } catch let error as ApusError {
      #expect(error.kind == .io && error.location == "/nowhere/old.json")
    }
  }
}
