// The curves of a run as lines of JSON, for programs and for the report.

import ApusData
import ApusGraph
import Synchronization

/// Writes the records of a run as one JSON object a line.
///
///     {"event":"begin","step":0,"time":1764500000.25,"format":"apus-run","version":1}
///     {"event":"scalars","step":120,"time":1764500001.5,"values":{"loss/step":0.35,"learning_rate":0.001}}
///     {"event":"histogram","step":938,"time":…,"tag":"parameters/hidden.weight","least":-0.2,"greatest":0.2,…}
///     {"event":"text","step":0,"time":…,"tag":"note","text":"…"}
///     {"event":"hyperparameters","step":0,"time":…,"values":{"rate":0.001}}
///
/// `time` is in seconds since 1970. JSON has no NaN and no infinities: they are the strings `"nan"`, `"inf"` and
/// `"-inf"`. Images and graphs are left out.
///
/// A run that is resumed is added to the same file, with a `begin` line of the step it goes on from; what stands above
/// it for later steps does not count any more. ``RunHistory`` reads it so.
public final class JSONLinesWriter: RecordWriter {
  private let path: String
  private let file = Mutex<AppendedFile?>(nil)

  /// - `path`: is added to where it is there.
  public init(_ path: String) { self.path = path }

  /// - Throws: `io` where the file cannot be written.
  public func begin(at step: Int, time: Double) throws {
    try file.withLock { file in
      let opened = try file ?? AppendedFile(path, isNew: false)
      let line = Self.line(
        "begin", step, time, [("format", "apus-run"), ("version", .integer(RunHistory.version))])
      // A line that was cut stays alone.
      let isCut = opened.lastByte.map { $0 != UInt8(ascii: "\n") } ?? false
      try opened.append((isCut ? [UInt8(ascii: "\n")] : []) + line)
      file = opened
    }
  }

  public func write(_ records: [RunRecord]) throws {
    var bytes: [UInt8] = []
    var scalars: [(String, JSON)] = []
    for (place, record) in records.enumerated() {
      let (step, time) = (record.step, record.time)
      switch record.value {
      case .scalar(let value):
        scalars.append((record.tag, JSON(exactly: value)))
        // Those of one step that follow each other are one line.
        if records.indices.contains(place + 1), case .scalar = records[place + 1].value,
          records[place + 1].step == step,
          !scalars.contains(where: { $0.0 == records[place + 1].tag })
        {
          continue
        }
        bytes += Self.line("scalars", step, time, [("values", .object(scalars))])
        scalars = []
      case .histogram(let histogram):
        bytes += Self.line(
          "histogram", step, time, [("tag", .string(record.tag))] + histogram.members)
      case .text(let text):
        bytes += Self.line(
          "text", step, time, [("tag", .string(record.tag)), ("text", .string(text))])
      case .hyperparameters(let settings, let metrics):
        let values = settings.sorted { $0.key < $1.key }.map { ($0.key, $0.value.json) }
        bytes += Self.line(
          "hyperparameters", step, time,
          [("values", .object(values)), ("metrics", .array(metrics.map { .string($0) }))])
      case .image, .graph: break
      }
    }
    guard !bytes.isEmpty else { return }
    try file.append(bytes, at: path)
  }

  private static func line(
    _ event: String, _ step: Int, _ time: Double, _ members: [(String, JSON)]
  ) -> [UInt8] {
    let json = JSON.object(
      [("event", .string(event)), ("step", .integer(step)), ("time", .number(time))] + members)
    return Array((json.text + "\n").utf8)
  }
}

extension RecordHistogram {
  fileprivate var members: [(String, JSON)] {
    [
      ("least", JSON(exactly: least)), ("greatest", JSON(exactly: greatest)),
      ("count", .integer(count)), ("sum", JSON(exactly: sum)),
      ("sum_of_squares", JSON(exactly: sumOfSquares)), ("non_finite", .integer(nonFinite)),
      ("counts", .array(counts.map { .integer($0) })),
    ]
  }
}
