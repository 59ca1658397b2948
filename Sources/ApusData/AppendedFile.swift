// Files that grow by whole records: logs, curves, event files.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file that grows by whole records, used by one thread at a time: what a process that is killed leaves ends with a whole one, but for a single
/// write that the system itself has cut.
package final class AppendedFile: @unchecked Sendable {
  package let path: String
  private let descriptor: CInt

  /// Opens a file to add to, which is made where it is not there. Several may add to one file: what each adds at once
  /// stays together.
  ///
  /// - `isNew`: whether it must not be there yet.
  /// - Throws: `io` where that cannot be.
  package init(_ path: String, isNew: Bool) throws {
    self.path = path
    let flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | (isNew ? O_EXCL : 0)
    let descriptor = TemporaryFile.lifted(open(path, flags, 0o666))
    guard descriptor >= 0 else { throw systemError("open the file", path) }
    self.descriptor = descriptor
    guard lseek(descriptor, 0, SEEK_END) >= 0 else {
      let error = systemError("find the end of the file", path, expected: "a file, no pipe")
      close(descriptor)
      throw error
    }
  }

  deinit { close(descriptor) }

  /// Bytes that it has now; 0 where that is not known.
  private var byteCount: off_t {
    var status = stat()
    return fstat(descriptor, &status) == 0 ? status.st_size : 0
  }

  /// The last byte; nil where there is none.
  package var lastByte: UInt8? {
    var byte: UInt8 = 0
    let end = byteCount
    return end > 0 && pread(descriptor, &byte, 1, end - 1) == 1 ? byte : nil
  }

  /// Adds bytes, all of them or none.
  ///
  /// - Throws: `io` where the disk is full or the device refuses.
  package func append(_ bytes: [UInt8]) throws {
    let start = byteCount
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        write(descriptor, $0.baseAddress! + done, bytes.count - done)
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        let error = systemError("add to the file", path)
        // No half of a record stays, where nobody else has added to it meanwhile.
        if done > 0 && byteCount == start + off_t(done) { ftruncate(descriptor, start) }
        throw error
      }
      done += count
    }
  }
}
