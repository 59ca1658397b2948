// Files on their way to their names.
//
// Where the file system can, a temporary has no name until it is whole (O_TMPFILE), so that a process that is
// killed leaves nothing. In the moment between its name and the rename over the target, and all the time on
// other file systems, it is `TARGET.tmp-PID-NUMBER`. Its owner holds a lock on it, which the system opens when
// the owner dies, however that was: what can be locked by somebody else is a leftover, and is removed.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a file system may be asked for. Tests leave something out.
package struct FileAbilities: OptionSet, Sendable {
  package let rawValue: Int
  package init(rawValue: Int) { self.rawValue = rawValue }

  /// Files that have no name yet.
  package static let unnamed = FileAbilities(rawValue: 1)
  /// Hard links.
  package static let links = FileAbilities(rawValue: 2)
  package static let all: FileAbilities = [.unnamed, .links]
}

/// A file that is being written and will replace another. With its last reference it is gone, unless it did.
///
/// One thread at a time uses it.
final class TemporaryFile: @unchecked Sendable {
  private(set) var descriptor: CInt
  /// As errors call the file.
  private let path: String
  private let target: String
  /// Nil where it has none yet.
  private var name: String?

  /// - Throws: `io` where the folder refuses, or `path` names no file.
  init(beside target: String, named path: String, abilities: FileAbilities) throws {
    guard !path.isEmpty, !path.hasSuffix("/") else {
      throw ApusError(
        .io, "cannot write the file: '\(path)' names no file", at: path, expected: "a file name")
    }
    self.path = path
    self.target = target
    descriptor = -1
    if abilities.contains(.unnamed) {
      descriptor = Self.openUnnamed(in: AtomicFile.split(target).folder)
      // So that it is held from its first moment with a name on.
      if descriptor >= 0 { flock(descriptor, LOCK_EX | LOCK_NB) }
    }
    if descriptor < 0 { try openNamed() }
  }

  deinit {
    if let name { unlink(name) }
    if descriptor >= 0 { close(descriptor) }
  }

  // __O_TMPFILE | O_DIRECTORY, which Swift does not import: with the flag alone an older system would make
  // an ordinary file.
  private static func openUnnamed(in folder: String) -> CInt {
    let flag: CInt = 0o20000000
    return lifted(open(folder, flag | O_DIRECTORY | O_RDWR | O_CLOEXEC, 0o666))
  }

  /// The same file by a number above those of the standard streams. In a program whose standard error is
  /// closed the system gives the number 2 to the next file, and a progress bar would be written into it.
  static func lifted(_ descriptor: CInt, above last: CInt = STDERR_FILENO) -> CInt {
    guard descriptor >= 0, descriptor <= last else { return descriptor }
    let higher = fcntl(descriptor, F_DUPFD, last + 1)
    guard higher >= 0 else { return descriptor }
    _ = fcntl(higher, F_SETFD, FD_CLOEXEC)
    close(descriptor)
    return higher
  }

  private func openNamed() throws {
    while true {
      let name = Self.freshName(beside: target)
      let descriptor = Self.lifted(open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666))
      if descriptor < 0 {
        guard errno == EEXIST else {
          throw systemError("write the file", path, expected: "a folder that can be written to")
        }
        continue
      }
      // Before it was locked somebody may have taken it for a leftover.
      var status = stat()
      let isTaken = flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
      if !isTaken && fstat(descriptor, &status) == 0 && status.st_nlink > 0 {
        self.descriptor = descriptor
        self.name = name
        return
      }
      unlink(name)
      close(descriptor)
    }
  }

  /// A name that no other process has.
  static func freshName(beside target: String) -> String {
    let number = UInt64.random(in: 0..<1 << 52)
    return "\(target)\(mark)\(getpid())-\(String(number, radix: 16))"
  }

  private static let mark = ".tmp-"

  /// Writes what another file has at its end.
  ///
  /// - Throws: `io` where reading or writing fails.
  func append(contentsOf other: CInt) throws {
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var place = 0
    while true {
      let count = pread(other, &buffer, buffer.count, off_t(place))
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw systemError("copy the file", path) }
      if count == 0 { return }
      var done = 0
      while done < count {
        let written = buffer.withUnsafeBytes {
          pwrite(descriptor, $0.baseAddress! + done, count - done, off_t(place + done))
        }
        if written < 0 && errno == EINTR { continue }
        guard written > 0 else { throw systemError("copy the file", path) }
        done += written
      }
      place += count
    }
  }

  /// - Throws: `io` where the bytes do not reach the disk.
  func sync() throws {
    guard fsync(descriptor) == 0 else { throw systemError("sync the file", path) }
  }

  /// Takes the target's place, synced as it is.
  ///
  /// - Throws: `io` where the folder refuses.
  func replace(_ target: String) throws {
    if name == nil { try giveName() }
    guard let name, rename(name, target) == 0 else {
      throw systemError("replace the file", path)
    }
    self.name = nil
  }

  /// By a link to what the process has open; where that cannot be (no /proc, say), by a copy.
  private func giveName() throws {
    while true {
      let name = Self.freshName(beside: target)
      let own = "/proc/self/fd/\(descriptor)"
      if linkat(AT_FDCWD, own, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 {
        self.name = name
        return
      }
      if errno != EEXIST { break }
    }
    let unnamed = descriptor
    try openNamed()
    defer { close(unnamed) }
    try append(contentsOf: unnamed)
    var status = stat()
    if fstat(unnamed, &status) == 0 { fchmod(descriptor, status.st_mode & 0o777) }
    try sync()
  }

  // MARK: Space

  /// Takes space on the disk for so many bytes, which later writes to the file cannot fail to find.
  ///
  /// - Throws: `io` where there is not so much.
  func reserve(_ bytes: Int) throws {
    var code: CInt
    repeat { code = posix_fallocate(descriptor, 0, off_t(bytes)) } while code == EINTR
    guard code != 0 else { return }
    if [EOPNOTSUPP, ENOSYS, EINVAL, ENODEV].contains(code) {
      // This file system cannot promise: what is free now is all there is to know.
      var system = statvfs()
      guard fstatvfs(descriptor, &system) == 0 else { return }
      let (free, isHuge) = UInt64(system.f_bavail).multipliedReportingOverflow(
        by: UInt64(system.f_frsize))
      if isHuge || free >= UInt64(bytes) { return }
      code = ENOSPC
    }
    errno = code
    throw systemError(
      "reserve \(bytes) bytes for the file", path,
      expected: "so much space on the disk, and no limit of file sizes below it")
  }

  // MARK: Leftovers

  /// Removes what processes that are dead left of writing to `target`.
  static func removeLeftovers(of target: String) {
    let (folder, base) = AtomicFile.split(target)
    guard let stream = opendir(folder) else { return }
    defer { closedir(stream) }
    let beginnings = [base + mark, AtomicFile.previous(base) + mark].map { Array($0.utf8) }
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: UInt8.self, capacity: 256) {
          Array(
            UnsafeBufferPointer(start: $0, count: strlen(UnsafePointer<CChar>(OpaquePointer($0)))))
        }
      }
      for beginning in beginnings
      where name.starts(with: beginning) && isOurs(name.dropFirst(beginning.count)) {
        removeIfDead("\(folder)/\(String(decoding: name, as: UTF8.self))")
      }
    }
  }

  /// Whether a name ends as temporaries' do: in two numbers.
  private static func isOurs(_ end: ArraySlice<UInt8>) -> Bool {
    let parts = end.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    return parts.count == 2
      && parts.allSatisfy { part in
        !part.isEmpty
          && part.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
              || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
          }
      }
  }

  private static func removeIfDead(_ path: String) {
    var descriptor = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    if descriptor < 0 { descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) }
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var held = stat()
    var named = stat()
    guard fstat(descriptor, &held) == 0, held.isRegular,
      flock(descriptor, LOCK_EX | LOCK_NB) == 0, lstat(path, &named) == 0,
      held.st_ino == named.st_ino, held.st_dev == named.st_dev
    else { return }
    unlink(path)
  }
}
