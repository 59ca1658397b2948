// `apus info`: the machine as Apus sees it, and what it can do at most.

import Apus
import ApusBenchmarks
import ArgumentParser
import Foundation

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info", abstract: "Show the processor, the threads and why so many, the peaks.",
    discussion: """
      The peaks (multiply-adds, copying within each cache and in memory) are measured now, in about \
      a second: they are what the benchmarks' fractions refer to.
      """)

  @OptionGroup var execution: ExecutionOptions

  @Flag(inversion: .prefixedNo, help: "Measure the peaks.")
  var measure = true

  @Flag(help: "One JSON object on standard output, and nothing else there.")
  var json = false

  func run() throws {
    let machine = MachineFacts.current
    let threads = try execution.threadCount
    let (isa, isaSource) = try execution.level
    let peaks = measure ? try MachinePeaks.measured(threads: threads.count, isa: isa) : nil
    if json {
      var members: [(String, JSON)] = [
        ("event", "info"), ("version", .string(apusVersion)),
        ("processor", .string(machine.processor)),
        ("processors_online", .integer(machine.processorsOnline)),
        ("caches", .object(machine.caches.map { ($0.name, .integer($0.bytes)) })),
        ("isa_levels", .array(Environment.availableISAs.map { .string($0.name) })),
        ("isa", .string(isa.name)), ("isa_source", .string(isaSource)),
        ("threads", .integer(threads.count)), ("threads_source", .string(threads.source)),
        ("huge_pages", .string(machine.hugePages)),
      ]
      if let peaks {
        members.append(
          (
            "peaks",
            .object([
              ("gflops", .number(peaks.gigaflops)),
              ("bf16_gflops", peaks.bf16Gigaflops.map(JSON.number) ?? .null),
              (
                "copy_gbps",
                .object(peaks.copies.map { ($0.level, .number($0.gigabytesPerSecond)) })
              ),
            ])
          ))
      }
      return try Output.line(.object(members))
    }
    let facts = machine.rows
    let levels = Environment.availableISAs.map(\.name)
    var rows =
      [("apus", apusVersion)] + facts.map { ($0.name, $0.value) } + [
        ("levels", levels.joined(separator: ", ")), ("level", "\(isa.name) (\(isaSource))"),
        ("threads", threads.description),
      ]
    if let peaks {
      rows.append(("multiply-adds", "\(Int(peaks.gigaflops.rounded())) GFLOPS"))
      if let bf16 = peaks.bf16Gigaflops {
        rows.append(("bf16 products", "\(Int(bf16.rounded())) GFLOPS"))
      }
      for copy in peaks.copies {
        rows.append(("copy in \(copy.level)", "\(Int(copy.gigabytesPerSecond.rounded())) GB/s"))
      }
    }
    let width = rows.map(\.0.count).max() ?? 0
    for (name, value) in rows {
      try Output.line(name + String(repeating: " ", count: width - name.count + 2) + value)
    }
  }
}
