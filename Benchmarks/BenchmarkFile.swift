// JSON lines of an earlier run, read for a comparison.

import Apus
import Foundation

/// One of our timings as a line of `--json` tells it.
struct RecordedTiming: Sendable, Hashable {
  /// What is the same in two runs of one case: family, case, precision, level, threads and the rest of
  /// the case's settings. The kernel is not: a better one is what a comparison looks for.
  var key: String
  var median, lowerQuartile, upperQuartile: Double

  /// Members that say what a line is about, in the order of the key.
  private static let naming = [
    "bench", "case", "workload", "batch", "precision", "isa", "threads", "transpose", "packed",
    "raw",
  ]

  /// Nil for the lines of peers and for what is no timing.
  ///
  /// - Throws: `invalidFile`, without a place, where a member is missing or is no time.
  init?(_ line: JSON) throws {
    guard line.members != nil else {
      throw ApusError(.invalidFile, "\(line.text) is no object", expected: "a line of --json")
    }
    guard let bench = line["bench"]?.string else {
      throw ApusError(.invalidFile, "the line has no 'bench'", expected: "a line of --json")
    }
    if ["machine", "report", "compare"].contains(bench) || line["peer"] != nil { return nil }
    let name = bench == "train" ? "workload" : "case"
    guard line[name]?.string != nil else {
      throw ApusError(.invalidFile, "the line has no '\(name)'", expected: "a line of --json")
    }
    func time(_ name: String) throws -> Double {
      guard let value = line[name]?.double, value > 0, value.isFinite else {
        throw ApusError(
          .invalidFile, "'\(name)' is \(line[name]?.text ?? "missing")",
          expected: "milliseconds above 0")
      }
      return value
    }
    median = try time("ms")
    lowerQuartile = try time("p25_ms")
    upperQuartile = try time("p75_ms")
    guard lowerQuartile <= median, median <= upperQuartile else {
      throw ApusError(
        .invalidFile, "'ms' is not between 'p25_ms' and 'p75_ms'", expected: "a median")
    }
    key = Self.naming.compactMap { name -> String? in
      guard let value = line[name] else { return nil }
      switch name {
      case "transpose": return value.string == "nn" ? nil : value.string
      case "packed", "raw": return value.bool == true ? name : nil
      case "threads": return "\(value.text) threads"
      case "batch": return "batch \(value.text)"
      default: return value.string ?? value.text
      }
    }.joined(separator: " ")
  }
}

/// The timings of a file of JSON lines.
package struct BenchmarkFile: Sendable {
  /// What messages call it.
  package let name: String
  /// In the order of the file; of two lines about one case the later counts.
  let timings: [RecordedTiming]

  /// - Throws: `io` where the file cannot be read, `invalidFile` naming the line for what is no result of
  ///   a benchmark, or for a file without any.
  package init(path: String) throws {
    let data: Data
    do { data = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
      throw ApusError(.io, "cannot read the results: \(error.localizedDescription)", at: path)
    }
    try self.init(name: path, bytes: data)
  }

  init(name: String, bytes: some Collection<UInt8>) throws {
    var timings: [RecordedTiming] = []
    let newline = UInt8(ascii: "\n")
    for (index, line) in bytes.split(
      separator: newline, omittingEmptySubsequences: false
    ).enumerated() where !line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) {
      do {
        if let timing = try RecordedTiming(JSON(parsing: line)) {
          timings.removeAll { $0.key == timing.key }
          timings.append(timing)
        }
      } catch let error as ApusError {
        throw ApusError(
          .invalidFile, error.what, at: "\(name), line \(index + 1)",
          expected: error.expected ?? "a line of --json")
      }
    }
    guard !timings.isEmpty else {
      throw ApusError(
        .invalidFile, "there are no timings in the file", at: name, expected: "lines of --json")
    }
    self.name = name
    self.timings = timings
  }

  /// The timings of the run that has just ended.
  ///
  /// - Throws: `invalidFile` for lines that no benchmark writes.
  package init(name: String, lines: [JSON]) throws {
    self.name = name
    timings = try lines.compactMap { try RecordedTiming($0) }
  }
}
