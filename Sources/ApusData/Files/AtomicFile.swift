// Writing files so that a reader sees the old file or the whole new one, never a part.
//
// The bytes go to a temporary in the same folder (`TemporaryFile`), which is synced, renamed over the target,
// and the folder synced. Whatever fails on the way, the temporary is gone and the old file is untouched.

import ApusGraph

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
  /// points, also where nothing is there yet; a device or pipe, which cannot be replaced, is written to
  /// directly. Space that a ``FileReservation`` keeps for the path is used.
  ///
  /// - `keepingPrevious`: whether the file that is replaced stays as `path` + `.previous`. At every moment
  ///   there is a whole file under `path`, and under `.previous` from its first time on.
  /// - `abilities`: what the file system is asked for; where it refuses, there is another way.
  /// - Throws: `io` where the folder or the disk refuses, and what `body` throws; the old file is then
  ///   as it was.
  package static func write(
    to path: String, keepingPrevious: Bool = false, abilities: FileAbilities = .all,
    _ body: (inout Writer) throws -> Void
  ) throws {
    let target = try resolved(path)
    let old = try status(of: target, named: path)
    if let old, !old.isRegular {
      let descriptor = open(target, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw systemError("write the file", path) }
      defer { close(descriptor) }
      var writer = Writer(descriptor: descriptor, path: path)
      try body(&writer)
      return
    }

    // First, since what killed processes left may be the space that is lacking.
    TemporaryFile.removeLeftovers(of: target)
    let temporary =
      try FileReservation.take(target)
      ?? TemporaryFile(beside: target, named: path, abilities: abilities)
    var writer = Writer(descriptor: temporary.descriptor, path: path)
    try body(&writer)
    // Space that was reserved and not needed.
    guard ftruncate(temporary.descriptor, off_t(writer.count)) == 0 else {
      throw systemError("write the file", path)
    }
    if let old { fchmod(temporary.descriptor, old.st_mode & 0o777) }
    try temporary.sync()
    if keepingPrevious && old != nil { try keepPrevious(target, path, abilities) }
    try temporary.replace(target)
    syncFolder(of: target)
  }

  /// Replaces the file at `path` by `text`.
  ///
  /// - Throws: as ``write(to:keepingPrevious:abilities:_:)``.
  package static func write(_ text: String, to path: String) throws {
    try write(to: path) { try $0.write(text) }
  }

  /// What the file that is replaced is called, where it is kept.
  package static func previous(_ path: String) -> String { path + ".previous" }

  /// Checks that ``write(to:keepingPrevious:abilities:_:)`` could write there, before hours of work depend
  /// on it. Leaves nothing behind.
  ///
  /// - Throws: `io` saying why not.
  package static func checkWritable(_ path: String) throws {
    let target = try resolved(path)
    if let old = try status(of: target, named: path), !old.isRegular {
      guard access(target, W_OK) == 0 else { throw systemError("write the file", path) }
      return
    }
    _ = try TemporaryFile(beside: target, named: path, abilities: .all)
  }

  // MARK: Parts

  /// What is at the target; nil for nothing.
  ///
  /// - Throws: `io` for a folder.
  static func status(of target: String, named path: String) throws -> stat? {
    var status = stat()
    guard stat(target, &status) == 0 else { return nil }
    guard status.st_mode & S_IFMT != S_IFDIR else {
      throw ApusError(.io, "cannot write the file: it is a folder", at: path, expected: "a file")
    }
    return status
  }

  /// Gives the file its second name, in one step: by a link where there are any, by a copy elsewhere.
  private static func keepPrevious(
    _ target: String, _ path: String, _ abilities: FileAbilities
  ) throws {
    let previous = Self.previous(target)
    let old = open(target, O_RDONLY | O_CLOEXEC)
    guard old >= 0 else { throw systemError("keep the old file", path) }
    defer { close(old) }
    // So that nobody takes the link below for one of a dead process.
    flock(old, LOCK_EX | LOCK_NB)
    if abilities.contains(.links) {
      let name = TemporaryFile.freshName(beside: previous)
      if link(target, name) == 0 {
        // Nothing happens where both names are one file already.
        defer { unlink(name) }
        guard rename(name, previous) == 0 else {
          throw systemError("keep the old file", AtomicFile.previous(path))
        }
        return
      }
    }
    let copy = try TemporaryFile(
      beside: previous, named: AtomicFile.previous(path), abilities: abilities)
    try copy.append(contentsOf: old)
    var status = stat()
    if fstat(old, &status) == 0 { fchmod(copy.descriptor, status.st_mode & 0o777) }
    try copy.sync()
    try copy.replace(previous)
  }

  /// The file that `path` stands for: symbolic links are followed, also where the last points at nothing.
  ///
  /// - Throws: `io` for links that go in a circle.
  static func resolved(_ path: String) throws -> String {
    guard !path.isEmpty, !path.hasSuffix("/") else { return path }
    var path = path
    // As many as the system follows.
    for _ in 0...40 {
      if let whole = realPath(path) { return whole }
      guard let link = destination(ofLink: path) else {
        let (folder, name) = split(path)
        return realPath(folder).map { ($0 == "/" ? "" : $0) + "/" + name } ?? path
      }
      path = link.hasPrefix("/") ? link : split(path).folder + "/" + link
    }
    errno = ELOOP
    throw systemError("write the file", path)
  }

  private static func realPath(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }

  private static func destination(ofLink path: String) -> String? {
    let bytes = [UInt8](unsafeUninitializedCapacity: Int(PATH_MAX)) { buffer, count in
      count = buffer.withMemoryRebound(to: CChar.self) {
        max(readlink(path, $0.baseAddress!, $0.count), 0)
      }
    }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
  }

  /// A path's folder, without a slash at its end unless it is the root, and its last name.
  static func split(_ path: String) -> (folder: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let folder = path[..<slash]
    return (folder.isEmpty ? "/" : String(folder), String(path[path.index(after: slash)...]))
  }

  /// Makes the rename last through a power failure. Some file systems refuse to sync a folder: the
  /// file itself is safe by then, so that is no error.
  private static func syncFolder(of path: String) {
    let descriptor = open(split(path).folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}

extension stat {
  /// Whether it is of a file that can be replaced: no device, no pipe.
  var isRegular: Bool { st_mode & S_IFMT == S_IFREG }
}
