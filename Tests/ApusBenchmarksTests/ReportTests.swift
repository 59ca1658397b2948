// The files of `apus bench report`.

import Apus
import Foundation
import Testing

@testable import ApusBenchmarks

@Suite struct ReportTests {
  private func report(_ folder: String) -> BenchmarkReport {
    BenchmarkReport(
      folder: folder, date: "2026-11-21", options: BenchmarkOptions(threads: 1, isa: .ref))
  }

  private func section(_ name: String, points: [RooflinePoint]) -> BenchmarkReport.Section {
    var outcome = RooflineTests.outcome(points)
    outcome.lines = [["bench": "machine"], ["case": name]].map { members in
      .object(members.map { ($0.key, .string($0.value)) })
    }
    return BenchmarkReport.Section(name: name, outcome: outcome, table: ["a table of \(name)"])
  }

  @Test func files_haveTheMachineTheTablesAndThePictures() throws {
    let sections = [
      section("gemm", points: [RooflineTests.point("1x1x1", 1, 10)]), section("train", points: []),
    ]
    let files = report("results").files(
      sections, description: [("date", "2026-11-21"), ("processor", "P"), ("torch", "2.9")])
    #expect(
      files.map(\.path) == [
        "results/2026-11-21.json", "results/2026-11-21.md", "results/2026-11-21-gemm.svg",
      ])
    let lines = files[0].text.split(separator: "\n")
    #expect(lines.count == 5)
    #expect(
      lines[0] == #"{"bench":"report","date":"2026-11-21","processor":"P","torch":"2.9"}"#)
    let page = files[1].text
    for part in [
      "# Benchmarks of 2026-11-21", "| processor | P |", "| torch | 2.9 |", "a table of gemm",
      "a table of train", "(2026-11-21-gemm.svg)",
    ] {
      #expect(page.contains(part), "\(part)")
    }
    #expect(!page.contains("2026-11-21-train.svg"))
    #expect(files[2].text.contains("1x1x1"))
  }

  @Test func folderThatCannotBeWritten_isRefusedBeforeMeasuring() {
    #expect(throws: ApusError.self) { try report("/nowhere/results").write() }
  }

  @Test func suite_hasEveryOperation() throws {
    let suite = try BenchmarkReport.suite()
    #expect(suite.map(\.name) == ["gemm"] + MemoryFamily.allCases.map(\.rawValue))
    let names = suite.flatMap { $0.cases.map { "\($0.bench) \($0.name)" } }
    #expect(Set(names).count == names.count)
    let memory = MemoryFamily.allCases.reduce(0) { $0 + $1.operations.count * $1.usualShapes.count }
    #expect(memory >= 4 * MemoryOperation.all.count)
    #expect(names.count == GEMMShape.usual.count + memory)
  }

  @Test func machine_isDescribedWithoutItsName() {
    let machine = MachineFacts.current
    #expect(machine.system.wholeMatch(of: /Linux \d+(\.\d+)*/) != nil, "\(machine.system)")
    #expect(machine.compiler.contains("lang"))
    #expect(machine.processorsOnline >= 1 && machine.memory > 1 << 20)
  }
}
