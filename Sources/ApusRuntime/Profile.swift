// Where the time of a step goes.

import ApusGraph
import Foundation

/// The time of each step of one run.
///
///     let (_, profile) = try executable.profile(inputs)
///     print(profile)                                       // a table, slowest first
///     try profile.chromeTrace().write(to: url)             // for chrome://tracing or Perfetto
public struct Profile: Sendable, CustomStringConvertible {
  /// One kernel call and the time it took.
  public struct Entry: Sendable {
    /// The kernel's name.
    public var kernel: String
    public var mnemonic: String
    package var origins: [Origin]
    /// The module paths and lines of the model that the call computes for.
    public var places: [String] { origins.map(\.description) }
    public var nanoseconds: Int64
    public var predictedNanoseconds: Double
    public var threads: Int
    public var flops: Double
    public var bytes: Double
    /// Whether it computes again what a memory limit did not let the plan keep.
    public var isRepeated: Bool
    /// The calls of a turn, where it is a loop, each with the time of all turns.
    public var turn: [Entry] = []

    public var gigaflopsPerSecond: Double {
      nanoseconds > 0 ? flops / Double(nanoseconds) : 0
    }
    public var gigabytesPerSecond: Double {
      nanoseconds > 0 ? bytes / Double(nanoseconds) : 0
    }
  }

  /// In the order of the plan.
  public var entries: [Entry]

  /// - `turns`: by step that is a loop: nanoseconds of its steps, over all turns.
  init(
    _ plan: Plan, _ schedule: Schedule, nanoseconds: [Int64], turns: [Int: [Int64]] = [:],
    times: Int = 1
  ) {
    entries = plan.steps.indices.map { index in
      let step = plan.steps[index], entry = schedule.entries[index]
      var turn: [Entry] = []
      if let loop = step.loop, let nanoseconds = turns[index] {
        turn =
          Profile(loop.plan, loop.schedule, nanoseconds: nanoseconds, times: loop.length).entries
      }
      return Entry(
        kernel: step.call.name, mnemonic: step.mnemonic, origins: step.origins,
        nanoseconds: nanoseconds[index],
        predictedNanoseconds: Double(times) * entry.predictedNanoseconds,
        threads: entry.isAlone ? 1 : schedule.threads, flops: Double(times) * step.call.flops,
        bytes: Double(times) * step.call.bytes, isRepeated: step.isRepeated, turn: turn)
    }
  }

  public var totalNanoseconds: Int64 { entries.reduce(0) { $0 + $1.nanoseconds } }

  /// A line a step, slowest first: microseconds, share, GFLOP/s, GB/s, kernel, place in the model. Below a loop
  /// the calls of a turn, over all turns.
  public var description: String {
    let total = max(totalNanoseconds, 1)
    var lines = ["     µs      %  GFLOP/s     GB/s  threads  kernel"]
    func add(_ entry: Entry, _ indent: String) {
      let numbers = String(
        format: "%7.1f %6.1f %8.1f %8.1f %8d", Double(entry.nanoseconds) / 1000,
        100 * Double(entry.nanoseconds) / Double(total), entry.gigaflopsPerSecond,
        entry.gigabytesPerSecond, entry.threads)
      let place = entry.origins.first?.description ?? ""
      let again = entry.isRepeated ? "  again" : ""
      lines.append(
        "\(numbers)  \(indent)\(entry.kernel)\(again)\(place.isEmpty ? "" : "  \(place)")")
      for inner in entry.turn { add(inner, indent + "  ") }
    }
    for entry in entries.sorted(by: { $0.nanoseconds > $1.nanoseconds }) { add(entry, "") }
    lines.append(String(format: "%7.1f  in all", Double(total) / 1000))
    return lines.joined(separator: "\n")
  }

  /// The run as a trace in Chrome's event format, one complete event a step.
  ///
  /// - Throws: what encoding throws; it does not for a profile of a run.
  public func chromeTrace() throws -> Data {
    struct Event: Encodable {
      struct Arguments: Encodable {
        var op: String
        var origins: [String]
        var flops: Double
        var bytes: Double
        var predicted: Double
      }
      var name: String
      var cat = "kernel"
      var ph = "X"
      var ts: Double
      var dur: Double
      var pid = 1
      var tid = 1
      var args: Arguments
    }
    struct Trace: Encodable {
      var traceEvents: [Event]
      var displayTimeUnit = "ns"
    }
    var start = 0.0
    let events = entries.map { entry -> Event in
      let duration = Double(entry.nanoseconds) / 1000
      defer { start += duration }
      return Event(
        name: entry.kernel, ts: start, dur: duration,
        args: .init(
          op: entry.mnemonic, origins: entry.origins.map(\.description), flops: entry.flops,
          bytes: entry.bytes, predicted: entry.predictedNanoseconds / 1000))
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(Trace(traceEvents: events))
  }
}
