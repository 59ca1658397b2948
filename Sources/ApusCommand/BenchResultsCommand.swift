// `apus bench compare` and `apus bench report`: results as files.

import Apus
import ApusBenchmarks
import ArgumentParser
import Foundation

struct BenchCompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare", abstract: "Compare two files of results without measuring.",
    discussion: "Ends with 1 where something got slower.")

  @Argument(help: "JSON lines of the earlier run.", transform: BenchOptions.results)
  var old: BenchmarkFile

  @Argument(help: "JSON lines of the later run.", transform: BenchOptions.results)
  var new: BenchmarkFile

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func run() throws { try BenchmarkComparison(old: old, new: new).tell(json: json) }
}

struct BenchReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Measure everything and write the results as files.",
    discussion: """
      Writes DATE.md, DATE.json and a roofline for each family, with the machine's description.
      """)

  @Option(name: [.short, .long], help: "The folder to write to.")
  var output: String

  @Option(help: "What the files are named after. Default: today.")
  var date: String?

  @OptionGroup var measuring: MeasuringOptions

  func validate() throws {
    if let date, date.isEmpty || date.contains("/") {
      throw ValidationError("--date is '\(date)': a name of files is expected, as 2026-11-21.")
    }
  }

  func run() throws {
    let today = Date.now.formatted(.iso8601.year().month().day())
    try BenchmarkReport(
      folder: output, date: date ?? today, options: try measuring.settings(json: false)
    ).write()
  }
}
