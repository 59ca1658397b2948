// How large a run's files will be, so that space is kept for them before the first step.

import ApusData
import ApusGraph
import ApusNN

/// An upper bound of a safetensors file's size: the elements are exact, the header is estimated.
struct FileSize {
  private(set) var bytes = 1 << 16

  /// Parameters and buffers under all their paths.
  init(_ model: any Module, _ metadata: [String: String]) {
    for (key, value) in metadata { add(key + value, 0) }
    for place in ModelTree(model).places { add(place.path, place.state.type.byteCount) }
  }

  /// A name is written up to five times, in the header and in the index of a checkpoint.
  mutating func add(_ name: String, _ count: Int) {
    for part in [count, 512, 8 * name.utf8.count] {
      let (sum, isHuge) = bytes.addingReportingOverflow(part)
      bytes = isHuge ? .max : sum
    }
  }
}

/// A run of training that knows how large its files will be.
package protocol SizedRun: TrainingRun {
  /// At least as many bytes as `save` writes.
  var weightBytes: Int { get }
  /// At least as many bytes as `saveCheckpoint` writes, from the first `epochBegan` on.
  func checkpointBytes(metadata: [String: String]) -> Int
}

extension TrainingRun {
  /// Keeps space for the weights; nil where the run does not know how much.
  ///
  /// - Throws: `io` where the disk has not so much.
  package func reserveWeights(_ path: String) throws -> FileReservation? {
    guard let run = self as? any SizedRun else { return nil }
    return try FileReservation(path, bytes: run.weightBytes)
  }

  /// Keeps space for checkpoints that follow each other at one path: as many as it takes until each finds
  /// the space of the one before the last. Nil where the run does not know how much.
  ///
  /// - `isRepeated`: whether more than one will be written.
  /// - Throws: `io` where the disk has not so much.
  package func reserveCheckpoints(
    _ path: String, metadata: [String: String], isRepeated: Bool
  ) throws -> FileReservation? {
    guard let run = self as? any SizedRun else { return nil }
    let count = isRepeated ? max(3 - (try FileReservation.existing(path)), 1) : 1
    return try FileReservation(
      path, bytes: run.checkpointBytes(metadata: metadata), count: count)
  }
}
