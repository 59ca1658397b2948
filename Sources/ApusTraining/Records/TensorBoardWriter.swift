// Event files that TensorBoard opens.
//
// A file is a chain of records, each of which is an `Event` message:
//
//     length (8 bytes)   masked CRC of it (4)   message   masked CRC of it (4)       all little-endian
//
// A reader stops where a record is cut or a checksum is wrong, so what a killed process leaves is read to its last
// whole record.

import ApusData
import ApusGraph
import Foundation
import Synchronization

/// Writes TensorBoard's event files: scalars, histograms, images, texts, the graph and hyper-parameters.
///
///     let writer = TensorBoardWriter("runs/a")
///     try writer.begin(at: 0, time: Date().timeIntervalSince1970)
///     try writer.write([RunRecord("loss", step: 1, .scalar(0.5))])
///     // tensorboard --logdir runs
///
/// A run that is resumed gets a new file in the same folder, which says from which step on it counts; within one file
/// steps never go back. Scalars are 32-bit floats there. Open files of a run are `events.out.tfevents.TIME.HOST.PID.N`.
public final class TensorBoardWriter: RecordWriter {
  private let folder: String
  private let file = Mutex<AppendedFile?>(nil)
  private static let opened = Mutex(0)

  /// - `folder`: is made where it is not there, when the run begins.
  public init(_ folder: String) { self.folder = folder }

  /// - Throws: `io` where the folder or a file in it cannot be made.
  public func begin(at step: Int, time: Double) throws {
    try RunFolder.make(folder, for: "event files")
    try file.withLock { file in
      let number = Self.opened.withLock { opened in
        defer { opened += 1 }
        return opened
      }
      let seconds = Int(exactly: time.rounded(.down)) ?? 0
      let name = "events.out.tfevents.\(seconds).\(Self.host).\(getpid()).\(number)"
      let new = try AppendedFile(RunFolder.path(name, in: folder), isNew: true)
      var first = ProtocolBuffer()
      first.double(1, time)
      first.string(3, "brain.Event:2")
      // What files of before have after this step is not of this run.
      var start = ProtocolBuffer()
      start.double(1, time)
      start.integer(2, min(step, .max - 1) + 1)
      start.message(7) { $0.integer(1, 1) }
      try new.append(Self.framed(first.bytes) + Self.framed(start.bytes))
      file = new
    }
  }

  public func write(_ records: [RunRecord]) throws {
    var bytes: [UInt8] = []
    for record in records { try bytes += Self.framed(Self.event(record)) }
    try file.append(bytes, at: folder)
  }

  /// This machine's name as the kernel has it: Foundation would ask the network.
  private static var host: String {
    var system = utsname()
    guard uname(&system) == 0 else { return "localhost" }
    let bytes = withUnsafeBytes(of: &system.nodename) { $0.prefix { $0 != 0 }.map { $0 } }
    return String(decoding: bytes, as: UTF8.self).split(separator: "/").joined()
  }

  /// A record of the file.
  static func framed(_ message: [UInt8]) -> [UInt8] {
    func littleEndian(_ number: UInt64, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) }
    }
    let length = littleEndian(UInt64(message.count), 8)
    return length + littleEndian(UInt64(CRC32C.masked(length)), 4) + message
      + littleEndian(UInt64(CRC32C.masked(message)), 4)
  }

  // MARK: Messages

  private static func event(_ record: RunRecord) throws -> [UInt8] {
    var event = ProtocolBuffer()
    event.double(1, record.time)
    event.integer(2, record.step)
    switch record.value {
    case .graph(let graph): event.data(4, graph.graphDef)
    case .hyperparameters(let settings, let metrics):
      event.message(5) { summary in
        hyperparameters(settings, metrics, record.time, into: &summary)
      }
    default:
      try event.message(5) { summary in
        try summary.message(1) { try value(record, into: &$0) }
      }
    }
    return event.bytes
  }

  /// `Summary.Value`.
  private static func value(_ record: RunRecord, into value: inout ProtocolBuffer) throws {
    switch record.value {
    case .scalar(let number):
      value.string(1, record.tag)
      value.float(2, Float(number))
    case .histogram(let histogram):
      value.string(1, record.tag)
      value.message(5) { write(histogram, into: &$0) }
    case .image(let picture):
      value.string(1, record.tag)
      let png = try picture.png()
      value.message(4) {
        $0.integer(1, picture.height)
        $0.integer(2, picture.width)
        $0.integer(3, picture.channels)
        $0.data(4, png)
      }
    case .text(let text):
      value.string(1, "\(record.tag)/text_summary")
      value.message(9) { $0.message(1) { $0.string(1, "text") } }
      value.message(8) {
        // A string, of one element.
        $0.integer(1, 7)
        $0.message(2) { $0.message(2) { $0.integer(1, 1) } }
        $0.string(8, text)
      }
    case .graph, .hyperparameters: break
    }
  }

  /// `HistogramProto`.
  private static func write(_ histogram: RecordHistogram, into message: inout ProtocolBuffer) {
    message.double(1, histogram.least)
    message.double(2, histogram.greatest)
    message.double(3, Double(histogram.count))
    message.double(4, histogram.sum)
    message.double(5, histogram.sumOfSquares)
    // The right end of each interval. What stands left of the first is the least, where it has a count of 0.
    message.doubles(6, Array(histogram.edges))
    message.doubles(7, histogram.counts.isEmpty ? [] : [0] + histogram.counts.map(Double.init))
  }

  /// The three summaries of the hyper-parameters' plugin: what there is, that the run begins, that it has ended well.
  /// Without the last its table leaves the run out.
  private static func hyperparameters(
    _ settings: [String: Hyperparameter], _ metrics: [String], _ time: Double,
    into summary: inout ProtocolBuffer
  ) {
    let sorted = settings.sorted { $0.key < $1.key }
    func plugin(_ tag: String, _ field: Int, _ body: (inout ProtocolBuffer) -> Void) {
      var data = ProtocolBuffer()
      data.message(field, body)
      summary.message(1) { value in
        value.string(1, "_hparams_/\(tag)")
        value.message(9) {
          $0.message(1) {
            $0.string(1, "hparams")
            $0.data(2, data.bytes)
          }
        }
        // A float of one element, 0: there has to be a tensor.
        value.message(8) {
          $0.integer(1, 1)
          $0.message(2) { $0.message(2) { $0.integer(1, 1) } }
          $0.float(5, 0)
        }
      }
    }
    plugin("experiment", 2) { experiment in
      experiment.double(3, time)
      for (name, setting) in sorted {
        experiment.message(4) {
          $0.string(1, name)
          $0.integer(4, setting.dataType)
        }
      }
      for metric in metrics { experiment.message(5) { $0.message(1) { $0.string(2, metric) } } }
    }
    plugin("session_start_info", 3) { start in
      for (name, setting) in sorted {
        start.entry(1, name) { setting.write(into: &$0) }
      }
      start.double(5, time)
    }
    plugin("session_end_info", 4) { end in
      end.integer(1, 1)
      end.double(2, time)
    }
  }
}

extension Hyperparameter {
  /// As the plugin numbers types.
  fileprivate var dataType: Int {
    switch self {
    case .string: 1
    case .bool: 2
    case .number: 3
    }
  }

  /// `google.protobuf.Value`.
  fileprivate func write(into value: inout ProtocolBuffer) {
    switch self {
    case .number(let number): value.double(2, number)
    case .string(let text): value.string(3, text)
    case .bool(let flag): value.bool(4, flag)
    }
  }
}
