// `apus dump`, `apus info`, `apus bench` and the help.

import Apus
import Foundation
import Testing

@Suite struct DumpTests {
  static let stages = ["trace", "gradient", "optimised", "plan"]
  static let models = ["fashion-mnist", "mlp_small", "mlp_large"]

  @Test(arguments: models, stages)
  func textIsTheCanonicalForm(model: String, stage: String) throws {
    let run = try apus("dump", model, "--stage", stage)
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.errors.isEmpty)
    if stage == "plan" {
      #expect(run.output.hasPrefix("plan for "))
    } else {
      let graph = try Graph(parsing: run.output, ops: .all)
      #expect(graph.description == run.output)
      #expect(graph.assignments.isEmpty == (stage == "trace"))
    }
  }

  @Test(arguments: ["highest", "high", "mixed"])
  func everyPrecisionIsPlanned(precision: String) throws {
    let run = try apus("dump", "mlp_small", "--stage", "plan", "--precision", precision)
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.output.contains("gemm "))
  }

  @Test(arguments: stages) func jsonIsOneLine(stage: String) throws {
    let run = try apus("dump", "mlp_large", "--stage", stage, "--format", "json")
    #expect(run.status == 0)
    #expect(run.lines.count == 1)
    let json = try JSON(parsing: run.output)
    if stage == "plan" {
      #expect(try #require(json["steps"]?.elements).count > 5)
      let origins = json["steps"]?.elements?.compactMap { $0["origins"]?.elements?.count }
      #expect(origins?.contains { $0 > 1 } == true)
    } else {
      #expect(json["format"] == "apus-graph")
      #expect(json["version"] == .integer(Graph.jsonVersion))
    }
  }

  @Test(arguments: stages) func graphvizDrawsEveryStage(stage: String) throws {
    let dot = try #require(
      ["/usr/bin/dot", "/usr/local/bin/dot"].first {
        FileManager.default.isExecutableFile(atPath: $0)
      }, "Graphviz is missing; .ci/setup --tools installs it")
    try withFolder { folder in
      let source = folder.appendingPathComponent("graph.dot").path
      let picture = folder.appendingPathComponent("graph.svg").path
      let run = try apus("dump", "mlp_small", "--stage", stage, "--format", "dot", "-o", source)
      #expect(run.status == 0)
      #expect(run.output.isEmpty)
      let process = try Process.run(
        URL(fileURLWithPath: dot), arguments: ["-Tsvg", source, "-o", picture])
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
      let svg = try String(contentsOfFile: picture, encoding: .utf8)
      #expect(svg.contains("hidden.weight"))
    }
  }

  @Test func fusedNodes_nameAllTheirSources() throws {
    let run = try apus("dump", "mlp_large", "--stage", "optimised")
    let graph = try Graph(parsing: run.output, ops: .all)
    let fused = graph.nodes.filter { $0.origins.count > 1 }
    #expect(!fused.isEmpty)
    let scopes = Set(fused.flatMap(\.origins).map(\.scope))
    #expect(scopes.isSuperset(of: ["first", "second", "output"]))
  }

  @Test func aMemoryLimit_showsWhatIsComputedAgain_orWhyItCannotBeKept() throws {
    let arguments = ["dump", "resnet20", "--batch", "16", "--stage", "plan", "--format", "json"]
    func arena(_ run: CommandRun) throws -> Int? {
      try JSON(parsing: run.output)["memory"]?["arena"]?.integer
    }
    let free = try #require(try arena(CommandProcess(arguments).finish()))
    let limit = free * 6 / 10
    // In units that say it exactly.
    for text in ["\(limit)", "\(Double(limit) / 1024)KiB"] {
      let run = try CommandProcess(arguments + ["--memory-limit", text]).finish()
      #expect(run.status == 0, "\(run.errors)")
      #expect(try #require(try arena(run)) <= limit)
      let steps = try #require(try JSON(parsing: run.output)["steps"]?.elements)
      #expect(steps.contains { $0["isRepeated"] == .bool(true) })
    }
    let impossible = try CommandProcess(arguments + ["--memory-limit", "1KiB"]).finish()
    #expect(impossible.status == 1 && impossible.output.isEmpty)
    #expect(impossible.errors.contains("a memory limit of 1024 bytes cannot be kept"))
    #expect(impossible.errors.contains("expected a limit of at least"))
  }

  @Test func passesCanBeSwitchedOff() throws {
    let all = try apus("dump", "mlp_small")
    let fewer = try apus(
      "dump", "mlp_small", "--disable-pass", "fuse-epilogues", "--disable-pass", "dead-code")
    #expect(fewer.status == 0, "\(fewer.errors)")
    #expect(fewer.lines.count > all.lines.count)
  }

  @Test func batchSetsTheShapes() throws {
    let run = try apus("dump", "mlp_small", "--stage", "trace", "--batch", "3")
    #expect(run.output.contains("input %0 \"images\" : f32[3,784]"))
  }

  @Test func readerThatGoesAway_isNoCrash() throws {
    let process = try CommandProcess(["dump", "mlp_large", "--stage", "gradient"])
    process.hangUp()
    #expect(try process.finish().status != -1)
  }

  @Test func infoTellsThreadsAndTheirSource() throws {
    let run = try apus("info", "--json", "--no-measure", environment: ["APUS_THREADS": "3"])
    #expect(run.status == 0)
    let json = try JSON(parsing: run.output)
    #expect(json["event"] == "info")
    #expect(json["threads"] == 3)
    #expect(json["threads_source"] == "APUS_THREADS")
    #expect(json["isa_levels"]?.elements?.first == "ref")
    #expect(json["peaks"] == nil)
    let named = try JSON(
      parsing: try apus("info", "--json", "--no-measure", "--threads", "5", "--isa", "ref").output)
    #expect(named["threads_source"] == "--threads")
    #expect(named["isa"] == "ref")
    #expect(named["isa_source"] == "--isa")
  }

  @Test func infoMeasuresPeaks() throws {
    let run = try apus("info", "--threads", "1")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.output.contains("GFLOPS"))
    #expect(run.output.contains("copy in memory"))
  }

  @Test func benchWritesJSONLines() throws {
    let run = try apus(
      "bench", "gemm", "--shape", "64x64x64", "--seconds", "0.05", "--threads", "1", "--json")
    #expect(run.status == 0, "\(run.errors)")
    let lines = try run.lines.map { try JSON(parsing: $0) }
    let line = try #require(lines.first { $0["bench"] == "gemm" })
    #expect(line["case"] == "64x64x64")
    #expect(try #require(line["gflops"]?.double) > 0)
  }

  @Test(arguments: [
    [], ["train"], ["dump"], ["bench"], ["bench", "gemm"], ["bench", "eltwise"], ["info"],
  ])
  func helpExplainsEveryOption(command: [String]) throws {
    let run = try CommandProcess(command + ["--help"]).finish()
    #expect(run.status == 0)
    #expect(run.output.contains("USAGE: apus"))
    // An option without words has nothing after its two columns.
    for line in run.lines where line.hasPrefix("  -") {
      let words = line.split(separator: "  ", omittingEmptySubsequences: true)
      let isWrapped = words.count == 1 && line.count > 22
      #expect(words.count > 1 || isWrapped, "\(line)")
    }
  }

  @Test func versionIsTold() throws {
    let run = try apus("--version")
    #expect(run.status == 0)
    #expect(run.output.contains("."))
  }
}
