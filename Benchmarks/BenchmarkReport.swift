// The whole suite with the machine's description, as files: what `make bench` writes.

import Apus
import ApusRecipes
import Foundation

/// Measures every family and writes a page, JSON lines and a roofline for each.
///
/// Writes `DATE.md`, `DATE.json` and `DATE-FAMILY.svg` into the folder; what stands there under these
/// names is replaced. Nothing is written where a benchmark fails.
package struct BenchmarkReport {
  package var folder: String
  /// Names the files: `2026-11-21`.
  package var date: String
  package var options: BenchmarkOptions

  package init(folder: String, date: String, options: BenchmarkOptions) {
    self.folder = folder
    self.date = date
    self.options = options
  }

  /// A family's part.
  struct Section {
    var name: String
    var outcome: BenchmarkOutcome
    var table: [String]
  }

  /// The families and how many cases each has.
  static func suite() throws -> [(name: String, title: String, cases: [BenchmarkCase])] {
    let products = GEMMShape.usual.map { BenchmarkCase.gemm($0) }
    return [("gemm", "Matrix products", products)]
      + (try MemoryFamily.allCases.map { family in
        let cases = try family.operations.flatMap { operation in
          try family.usualShapes.map { try BenchmarkCase.memory(operation, $0) }
        }
        return (family.rawValue, family.title, cases)
      })
  }

  /// Measures and writes; prints what it does and every table.
  ///
  /// - Throws: `io` where the folder cannot be written, before anything is measured; else as
  ///   ``runBenchmarks(_:title:peaks:options:)`` and ``benchmarkTraining(_:batch:options:)``.
  package func write() throws {
    let suite = try Self.suite()
    let paths = ["json", "md"].map { "\(folder)/\(date).\($0)" }
    try paths.forEach(AtomicFile.checkWritable)
    let count = suite.reduce(recipes.benchmarks.count) { $0 + $1.cases.count }
    options.print(
      "Measures \(count) cases on \(options.threads) threads, each for about "
        + "\(significant(options.seconds)) s"
        + (options.peers.isEmpty
          ? "" : ", in turns with \(options.peers.map(\.rawValue).joined(separator: ", "))")
        + ",\nand writes \(paths.joined(separator: ", ")) and a roofline for each family.")
    var sections: [Section] = []
    func section(_ name: String, _ body: (BenchmarkOptions) throws -> BenchmarkOutcome) throws {
      var table: [String] = []
      var recording = options
      recording.json = false
      recording.colour = false
      recording.print = { line in
        table.append(line)
        options.print(line)
      }
      options.print("")
      let outcome = try body(recording)
      sections.append(Section(name: name, outcome: outcome, table: table))
    }
    for family in suite {
      try section(family.name) {
        try runBenchmarks(family.cases, title: family.title, options: $0)
      }
    }
    try section("train") { try benchmarkTraining(options: $0) }
    for (path, text) in files(sections, description: description(sections)) {
      try AtomicFile.write(text, to: path)
      options.print("wrote \(path)")
    }
  }

  /// What the figures depend on; nothing that names the machine's owner or place.
  private func description(_ sections: [Section]) -> [(String, String)] {
    let machine = MachineFacts.current
    let caches = machine.caches.map { "\($0.name) \($0.bytes >> 10) KiB" }
    var versions: [(String, String)] = []
    for (name, version) in sections.flatMap(\.outcome.peerVersions)
    where !versions.contains(where: { $0.0 == name }) {
      versions.append((name, version))
    }
    return [
      ("date", date), ("commit", SourceRevision.current),
      ("processor", machine.processor), ("processors", "\(machine.processorsOnline)"),
      ("threads", "\(options.threads)"), ("level", options.isa.name),
      ("caches", caches.joined(separator: ", ")), ("memory", "\(machine.memory >> 30) GiB"),
      ("system", machine.system), ("compiler", machine.compiler),
    ] + versions
  }

  /// Paths and texts.
  func files(
    _ sections: [Section], description: [(String, String)]
  ) -> [(path: String, text: String)] {
    let head = JSON.object(
      [("bench", "report")] + description.map { ($0, JSON.string($1)) })
    let lines = [head] + sections.flatMap(\.outcome.lines)
    var page = ["# Benchmarks of \(date)", "", "| | |", "| --- | --- |"]
    page += description.dropFirst().map { "| \($0) | \($1) |" }
    page += ["", "What the columns mean: [Docs/Benchmarks.md](../../Docs/Benchmarks.md)."]
    for section in sections {
      let isEmpty = section.outcome.points.isEmpty
      page += ["", "## \(section.name)", "", "```"] + section.table + ["```"]
      if !isEmpty {
        page += ["", "![The roofline of \(section.name)](\(date)-\(section.name).svg)"]
      }
    }
    let pictures = sections.filter { !$0.outcome.points.isEmpty }.map { section in
      (
        "\(folder)/\(date)-\(section.name).svg",
        Roofline(section.outcome, title: section.name).svg
      )
    }
    return [
      ("\(folder)/\(date).json", lines.map { $0.text + "\n" }.joined()),
      ("\(folder)/\(date).md", page.joined(separator: "\n") + "\n"),
    ] + pictures
  }
}

extension MemoryFamily {
  /// For people.
  package var title: String {
    switch self {
    case .eltwise: "Elementwise chains"
    case .reduce: "Reductions"
    case .norm: "Normalisation"
    case .softmax: "Softmax and cross-entropy"
    case .pool: "Pooling"
    case .optimizer: "Updates"
    }
  }
}

/// The commit that the sources are at.
enum SourceRevision {
  /// Twelve digits, with `-dirty` where files differ; `unknown` where there is no repository.
  static var current: String {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    process.currentDirectoryURL =
      URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return "unknown" }
    let text = String(
      decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self
    ).trimmingCharacters(in: .whitespacesAndNewlines)
    process.waitUntilExit()
    return process.terminationStatus == 0 && !text.isEmpty ? text : "unknown"
  }
}
