// `apus bench` as a process: JSON lines and nothing else, comparisons and their exit codes, pictures.

import Apus
import Foundation
import Testing

@Suite(.serialized) struct BenchTests {
  private static let quick = [
    "bench", "gemm", "--shape", "8x8x8", "--threads", "1", "--isa", "ref", "--seconds", "0.01",
  ]

  private func bench(_ more: String..., environment: [String: String] = [:]) throws -> CommandRun {
    try CommandProcess(Self.quick + more, environment: environment).finish()
  }

  @Test func json_isAllThatIsWritten() throws {
    for arguments in [
      Self.quick, ["bench", "norm", "rms_norm", "--shape", "2x8", "--seconds", "0.01"],
    ] {
      let run = try CommandProcess(arguments + ["--json"]).finish()
      #expect(run.status == 0, "\(run.errors)")
      let benches = try run.lines.map { try JSON(parsing: $0)["bench"]?.string }
      #expect(benches == ["machine", arguments[1]])
    }
  }

  @Test func tables_haveNoColoursInAFile() throws {
    let run = try bench()
    #expect(run.status == 0 && run.output.contains("% of peak"))
    #expect(!run.output.contains("\u{1b}"))
  }

  @Test func whatGotSlower_endsWithOne() throws {
    try withFolder { folder in
      let path = folder.appendingPathComponent("old.json").path
      func old(milliseconds: Double) throws {
        let line = """
          {"bench":"gemm","case":"8x8x8","precision":"highest","isa":"ref","kernel":"k","threads":1,\
          "ms":\(milliseconds),"p25_ms":\(milliseconds),"p75_ms":\(milliseconds),"transpose":"nn"}
          """
        try line.write(toFile: path, atomically: true, encoding: .utf8)
      }
      try old(milliseconds: 1e-9)
      let slower = try bench("--compare", path)
      #expect(slower.status == 1 && slower.output.contains("1 slower"), "\(slower.output)")
      try old(milliseconds: 1e9)
      let faster = try bench("--compare", path, "--json")
      #expect(faster.status == 0, "\(faster.errors)")
      let last = try JSON(parsing: faster.lines.last ?? "")
      #expect(last["bench"]?.string == "compare" && last["verdict"]?.string == "faster")
    }
  }

  @Test func fileThatIsNoResult_endsWith64AndNamesTheLine() throws {
    try withFolder { folder in
      let path = folder.appendingPathComponent("old.json").path
      try "{\"bench\":\"machine\"}\n{\"bench\":\"gemm\"}\n".write(
        toFile: path, atomically: true, encoding: .utf8)
      let run = try bench("--compare", path)
      #expect(run.status == 64 && run.output.isEmpty)
      #expect(run.errors.contains("\(path), line 2"), "\(run.errors)")
    }
  }

  @Test func roofline_isDrawn() throws {
    try withFolder { folder in
      let path = folder.appendingPathComponent("roof.svg").path
      let run = try bench("--roofline", path)
      #expect(run.status == 0, "\(run.errors)")
      let text = try String(contentsOfFile: path, encoding: .utf8)
      #expect(text.contains("<svg") && text.contains("8x8x8"))
    }
    let run = try bench("--roofline", "/nowhere/roof.svg")
    #expect(run.status == 1 && run.output.isEmpty && run.errors.contains("/nowhere/roof.svg"))
  }

  @Test func missingPeers_nameTheVariable() throws {
    for arguments in [Self.quick, ["bench", "train", "mlp_small", "--seconds", "0.01"]] {
      let run = try CommandProcess(
        arguments + ["--peers"], environment: ["APUS_PEERS_PYTHON": "/nowhere/python"]
      ).finish()
      #expect(run.status == 1 && run.output.isEmpty)
      #expect(run.errors.contains("/nowhere/python") && run.errors.contains("APUS_PEERS_PYTHON"))
    }
  }

  @Test func aTrainingStepIsTimedWithinALimit() throws {
    let run = try apus(
      "bench", "train", "mlp_small", "--seconds", "0.01", "--json", "--memory-limit", "1")
    #expect(run.status == 1)
    #expect(run.errors.contains("a memory limit of 1 bytes cannot be kept"), "\(run.errors)")
  }

  @Test func trainingLine_hasItsMembers() throws {
    let run = try apus("bench", "train", "mlp_small", "--seconds", "0.05", "--json")
    #expect(run.status == 0, "\(run.errors)")
    let line = try JSON(parsing: run.lines.last ?? "")
    #expect(
      line.members?.map(\.0) == [
        "bench", "workload", "precision", "threads", "ms", "samples_per_s", "gflops", "arena_mib",
        "lower_bound_mib", "rss_mib", "compile_s", "first_step_s", "isa", "batch", "peak_fraction",
        "p25_ms", "p75_ms", "runs",
      ])
  }
}
