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
      half a second: they are what the benchmarks' fractions refer to.
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
              (
                "copy_gbps",
                .object(peaks.copies.map { ($0.level, .number($0.gigabytesPerSecond)) })
              ),
            ])
          ))
      }
      return try Output.line(.object(members))
    }
    let caches = machine.caches.map { "\($0.name) \(byteText($0.bytes))" }
    let levels = Environment.availableISAs.map(\.name)
    var rows = [
      ("apus", apusVersion), ("processor", machine.processor),
      ("online", "\(machine.processorsOnline) processors"),
      ("caches", caches.isEmpty ? "unknown" : caches.joined(separator: ", ")),
      ("levels", levels.joined(separator: ", ")), ("level", "\(isa.name) (\(isaSource))"),
      ("threads", threads.description), ("huge pages", machine.hugePages),
    ]
    if let peaks {
      rows.append(("multiply-adds", "\(Int(peaks.gigaflops.rounded())) GFLOPS"))
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

/// What the operating system tells of the machine.
struct MachineFacts {
  var processor: String
  var processorsOnline: Int
  /// Data caches of one processor, smallest first.
  var caches: [(name: String, bytes: Int)]
  /// The kernel's setting for transparent huge pages: `always`, `madvise`, `never` or `unknown`.
  var hugePages: String

  static var current: MachineFacts {
    let modes = firstLine("/sys/kernel/mm/transparent_hugepage/enabled") ?? ""
    let mode = modes.split(separator: " ").first { $0.hasPrefix("[") }
    return MachineFacts(
      processor: processorName, processorsOnline: sysconf(CInt(_SC_NPROCESSORS_ONLN)),
      caches: caches, hugePages: mode.map { String($0.dropFirst().dropLast()) } ?? "unknown")
  }

  private static func firstLine(_ path: String) -> String? {
    (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").first.map(
      String.init)
  }

  private static var processorName: String {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    let name = line?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
    return name ?? "unknown"
  }

  private static var caches: [(name: String, bytes: Int)] {
    (0..<8).compactMap { index -> (name: String, bytes: Int)? in
      let folder = "/sys/devices/system/cpu/cpu0/cache/index\(index)/"
      guard let type = firstLine(folder + "type"), type != "Instruction",
        let level = firstLine(folder + "level"), let size = firstLine(folder + "size"),
        let number = Int(size.prefix { $0.isNumber })
      else { return nil }
      let unit = size.hasSuffix("M") ? 1 << 20 : size.hasSuffix("K") ? 1 << 10 : 1
      return ("L\(level)", number * unit)
    }.sorted { $0.bytes < $1.bytes }
  }
}

/// `32 KiB`, `1 MiB`.
private func byteText(_ bytes: Int) -> String {
  bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes >> 10) KiB"
}
