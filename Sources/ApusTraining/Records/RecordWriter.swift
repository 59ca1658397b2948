// Where the records of a run go.

import ApusData
import ApusGraph
import Synchronization

/// Writes the records of a run somewhere. ``RunRecorder`` calls it from one task of its own at a time, never from the
/// training step.
///
///     final class Printer: RecordWriter {
///       func begin(at step: Int, time: Double) {}
///       func write(_ records: [RunRecord]) { for record in records { print(record.tag, record.step) } }
///     }
public protocol RecordWriter: AnyObject, Sendable {
  /// The run begins, or goes on after that step: what was written of later ones does not count any more. Called before
  /// the first records, and again where a run has gone back to a checkpoint.
  ///
  /// - Throws: `io` where nothing can be written.
  func begin(at step: Int, time: Double) throws
  /// Writes records, all of them or none.
  ///
  /// - Throws: `io` where they cannot be written: the disk is full, say. Later ones may be written again.
  func write(_ records: [RunRecord]) throws
}

extension Mutex where Value == AppendedFile? {
  /// Appends to the file that `begin` has opened.
  ///
  /// - `path`: for the error's sake.
  /// - Throws: `invalidArgument` where none is open; `io` where it cannot be written.
  func append(_ bytes: [UInt8], at path: String) throws {
    try withLock { file in
      guard let file else {
        throw ApusError(
          .invalidArgument, "records before the run has begun", at: path,
          expected: "begin(at:time:) first")
      }
      try file.append(bytes)
    }
  }
}
