// Writing files so that a reader sees the old file or the whole new one, never a part.
//
// The bytes go to a temporary in the same folder, which is synced, renamed over the target, and the
// folder synced. Whatever fails on the way, the temporary is removed and the old file is untouched.

import ApusGraph
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Writes whole files atomically.
///
///     try AtomicFile.write(to: "weights.bin") { try $0.write(bytes) }
package enum AtomicFile {
  /// Where the bytes go.
  package struct Writer: ~Copyable {
    fileprivate let descriptor: CInt
    fileprivate let path: String
    /// Bytes written so far.
    package private(set) var count = 0

    fileprivate init(descriptor: CInt, path: String) {
      self.descriptor = descriptor
      self.path = path
    }

    /// Appends bytes.
    ///
    /// - Throws: `io` where the disk is full or the device refuses.
    package mutating func write(_ bytes: UnsafeRawBufferPointer) throws {
      var done = 0
      while done < bytes.count {
        #if canImport(Glibc)
          let written = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        #else
          let written = Musl.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        #endif
        if written < 0 && errno == EINTR { continue }
        guard written >= 0 else {
          throw systemError("write the file", place(path, count + done))
        }
        done += written
      }
      count += bytes.count
    }

    /// Appends bytes.
    ///
    /// - Throws: as ``write(_:)-(UnsafeRawBufferPointer)``.
    package mutating func write(_ bytes: [UInt8]) throws {
      try bytes.withUnsafeBytes { try write($0) }
    }

    /// Appends text as UTF-8.
    ///
    /// - Throws: as ``write(_:)-(UnsafeRawBufferPointer)``.
    package mutating func write(_ text: String) throws { try write(Array(text.utf8)) }
  }

  /// Replaces the file at `path` by what `body` writes. A symbolic link keeps pointing where it
  /// points; a device or pipe, which cannot be replaced, is written to directly.
  ///
  /// - `keepingPrevious`: whether the file that is replaced stays as `path` + `.previous`.
  /// - Throws: `io` where the folder or the disk refuses, and what `body` throws; the old file is then
  ///   as it was.
  package static func write(
    to path: String, keepingPrevious: Bool = false, _ body: (inout Writer) throws -> Void
  ) throws {
    let target = resolved(path)
    var status = stat()
    let exists = stat(target, &status) == 0
    if exists && status.st_mode & S_IFMT == S_IFDIR {
      throw ApusError(.io, "cannot write the file: it is a folder", at: path, expected: "a file")
    }
    if exists && status.st_mode & S_IFMT != S_IFREG {
      let descriptor = open(target, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw systemError("write the file", path) }
      defer { close(descriptor) }
      var writer = Writer(descriptor: descriptor, path: path)
      try body(&writer)
      return
    }

    let (temporary, descriptor) = try openTemporary(beside: target, named: path)
    var isOpen = true
    do {
      var writer = Writer(descriptor: descriptor, path: path)
      try body(&writer)
      if exists { fchmod(descriptor, status.st_mode & 0o777) }
      guard fsync(descriptor) == 0 else { throw systemError("sync the file", path) }
      isOpen = false
      guard close(descriptor) == 0 else { throw systemError("close the file", path) }
      if keepingPrevious && exists {
        let previous = target + ".previous"
        unlink(previous)
        guard link(target, previous) == 0 else { throw systemError("keep the old file", previous) }
      }
      guard rename(temporary, target) == 0 else { throw systemError("replace the file", path) }
    } catch {
      if isOpen { close(descriptor) }
      unlink(temporary)
      throw error
    }
    syncFolder(of: target)
  }

  /// Replaces the file at `path` by `text`.
  ///
  /// - Throws: as ``write(to:keepingPrevious:_:)``.
  package static func write(_ text: String, to path: String) throws {
    try write(to: path) { try $0.write(text) }
  }

  /// Checks that ``write(to:keepingPrevious:_:)`` could write there, before hours of work depend on
  /// it. Leaves nothing behind.
  ///
  /// - Throws: `io` saying why not.
  package static func checkWritable(_ path: String) throws {
    let target = resolved(path)
    var status = stat()
    if stat(target, &status) == 0 && status.st_mode & S_IFMT != S_IFREG {
      guard status.st_mode & S_IFMT != S_IFDIR else {
        throw ApusError(.io, "cannot write the file: it is a folder", at: path, expected: "a file")
      }
      guard access(target, W_OK) == 0 else { throw systemError("write the file", path) }
      return
    }
    let (temporary, descriptor) = try openTemporary(beside: target, named: path)
    close(descriptor)
    unlink(temporary)
  }

  private static let counter = Atomic<Int>(0)

  private static func openTemporary(
    beside target: String, named path: String
  ) throws -> (path: String, descriptor: CInt) {
    guard !path.isEmpty, !path.hasSuffix("/") else {
      throw ApusError(
        .io, "cannot write the file: '\(path)' names no file", at: path, expected: "a file name")
    }
    while true {
      let number = counter.add(1, ordering: .relaxed).newValue
      let temporary = "\(target).tmp-\(getpid())-\(number)"
      let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      if descriptor >= 0 { return (temporary, descriptor) }
      // A crashed process with our number may have left one.
      guard errno == EEXIST else {
        throw systemError("write the file", path, expected: "a folder that can be written to")
      }
    }
  }

  /// The path with symbolic links followed, where it exists.
  private static func resolved(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  /// Makes the rename last through a power failure. Some file systems refuse to sync a folder: the
  /// file itself is safe by then, so that is no error.
  private static func syncFolder(of path: String) {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}
