// `apus compare`: runs side by side.

import Apus
import ArgumentParser

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare", abstract: "Show runs side by side.",
    discussion: """
      A run is a folder of apus train --run, or any with metrics.jsonl. Shown are the settings in which the \
      runs differ, and of each curve what it ends with, its least and its greatest number.
      """)

  @Argument(help: ArgumentHelp("The runs' folders, two or more.", valueName: "runs"))
  var runs: [String]

  @Option(
    help: ArgumentHelp(
      "Of all curves this one, such as loss/validation; repeatable.", valueName: "tag"))
  var curve: [String] = []

  @Option(help: ArgumentHelp("Write a page with the curves of all runs.", valueName: "file"))
  var html: String?

  @Option(help: ArgumentHelp("Write the curves of all runs as a picture.", valueName: "file"))
  var svg: String?

  @Flag(help: "One JSON object on standard output, and nothing else there.")
  var json = false

  /// More are no comparison for people any more.
  private static let mostRuns = 32

  func validate() throws {
    guard (2...Self.mostRuns).contains(runs.count) else {
      throw ValidationError(
        "\(runs.count) runs: from 2 to \(Self.mostRuns) folders are expected.")
    }
    guard html != "" else { throw ValidationError("--html is empty: a file is expected.") }
    guard svg != "" else { throw ValidationError("--svg is empty: a file is expected.") }
  }

  func run() throws {
    var comparison = RunComparison(
      try runs.map { path in
        let trimmed = path.reversed().drop { $0 == "/" }.prefix { $0 != "/" }
        return (trimmed.isEmpty ? path : String(trimmed.reversed()), try RunHistory(path))
      })
    if !curve.isEmpty { comparison = try comparison.keeping(curve) }
    if let html { try AtomicFile.write(comparison.html, to: html) }
    if let svg {
      let title = comparison.names.joined(separator: ", ")
      try AtomicFile.write(comparison.charts.svg(title: title), to: svg)
    }
    if json { return try Output.line(comparison.json) }
    for line in comparison.lines { try Output.line(line) }
  }
}
