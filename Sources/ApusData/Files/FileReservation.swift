// Space on the disk for files that are written later.

import ApusGraph
import Synchronization

/// Keeps space on the disk for files that will be written, so that a full disk is an error before hours of
/// work and not after them.
///
///     let space = try FileReservation("weights.safetensors", bytes: 4 << 30)
///     …
///     try model.save("weights.safetensors")   // into the space that was kept
///
/// The space belongs to temporaries that `AtomicFile` writes into and renames. Nobody else gets it, on file
/// systems that can allocate (ext4, XFS, Btrfs, tmpfs and most others); elsewhere it is only looked at once.
/// What was not used is free again with the reservation's last reference, or with the process.
package final class FileReservation: Sendable {
  private let path: String
  private let target: String

  /// - `bytes`: of each file; headers included.
  /// - `count`: how many files that are written one after the other.
  /// - Throws: `io` where the disk has not so much space or the folder refuses. Nothing is kept then.
  package init(_ path: String, bytes: Int, count: Int = 1) throws {
    self.path = path
    target = try AtomicFile.resolved(path)
    try refill(to: count, bytes: bytes)
  }

  deinit { Self.files.withLock { _ = $0.removeValue(forKey: target) } }

  /// Keeps space for so many files again, after some have been written.
  ///
  /// - Throws: as ``init(_:bytes:count:)``. What is kept already stays.
  package func refill(to count: Int, bytes: Int) throws {
    // Devices and pipes take what they take.
    if let old = try AtomicFile.status(of: target, named: path), !old.isRegular { return }
    TemporaryFile.removeLeftovers(of: target)
    while Self.files.withLock({ $0[target]?.count ?? 0 }) < count {
      let file = try TemporaryFile(beside: target, named: path, abilities: .all)
      try file.reserve(bytes)
      Self.files.withLock { $0[target, default: []].append(file) }
    }
  }

  /// How many files are there of those that `AtomicFile` keeps under a path: itself and the one before.
  package static func existing(_ path: String) throws -> Int {
    let target = try AtomicFile.resolved(path)
    return try [target, AtomicFile.previous(target)].count {
      try AtomicFile.status(of: $0, named: $0) != nil
    }
  }

  /// Temporaries by the files that they are kept for.
  private static let files = Mutex<[String: [TemporaryFile]]>([:])

  /// A temporary with space for the file, if one is kept.
  static func take(_ target: String) -> TemporaryFile? {
    files.withLock { $0[target]?.popLast() }
  }
}
