// Files as bytes: reading whole files or parts of them, and a cursor that checks every step. Bytes that come
// one after another: ByteStream.swift.
//
// Every reader of this module goes through here, so that a short file, a lying header or a folder in
// place of a file is an error with a byte offset and never a trap. No Foundation: starting it takes
// longer than reading Fashion-MNIST's labels.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The operating system's refusal as an `ApusError` of kind `io`.
func systemError(_ doing: String, _ path: String, expected: String? = nil) -> ApusError {
  let reason = String(cString: strerror(errno))
  return ApusError(.io, "cannot \(doing): \(reason)", at: path, expected: expected)
}

/// `path, byte n`: how errors name a place in a file.
func place(_ path: String, _ offset: Int) -> String { "\(path), byte \(offset)" }

/// An open file that is read at given offsets. The descriptor is closed with the last reference.
final class OpenFile: Sendable {
  let path: String
  let byteCount: Int
  private let descriptor: CInt

  /// - Throws: `io` where the file cannot be opened or is not a regular file. A pipe that nobody writes
  ///   to is refused at once and not waited for.
  init(_ path: String, expected: String? = nil) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw systemError("open the file", path, expected: expected) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      defer { close(descriptor) }
      throw systemError("examine the file", path)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw ApusError(
        .io, "cannot read it: it is not a regular file", at: path, expected: "a file")
    }
    // Regular files hardly know the flag; a file system in user space may.
    let flags = fcntl(descriptor, F_GETFL)
    if flags >= 0 { _ = fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) }
    self.path = path
    self.descriptor = descriptor
    byteCount = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Fills `target` with the bytes from `offset` on.
  ///
  /// - Throws: `io`, also where the file ends before `target` is full.
  func read(into target: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < target.count {
      let count = pread(
        descriptor, target.baseAddress! + done, target.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw systemError("read the file", place(path, offset + done)) }
      guard count > 0 else {
        throw ApusError(
          .invalidFile, "the file ends early", at: place(path, offset + done),
          expected: "\(target.count - done) more bytes")
      }
      done += count
    }
  }

  /// Tells the system that a range will be read soon.
  func willRead(_ offset: Int, _ count: Int) {
    posix_fadvise(descriptor, off_t(offset), off_t(count), POSIX_FADV_WILLNEED)
  }

  /// The bytes of a range that lies within the file.
  func bytes(_ range: Range<Int>) throws -> [UInt8] {
    var failure: (any Error)?
    let result = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      do {
        try read(into: UnsafeMutableRawBufferPointer(buffer), at: range.lowerBound)
        count = range.count
      } catch { failure = error }
    }
    if let failure { throw failure }
    return result
  }
}

/// Files that are read whole.
package enum FileContents {
  /// All bytes of a file.
  ///
  /// - Throws: `io` where it cannot be read, `resource` where it has more than `limit`.
  package static func bytes(of path: String, limit: Int, expected: String) throws -> [UInt8] {
    let file = try OpenFile(path, expected: expected)
    guard file.byteCount <= limit else {
      throw ApusError(
        .resource, "the file has \(file.byteCount) bytes", at: path,
        expected: "at most \(limit) bytes, the limit")
    }
    return try file.bytes(0..<file.byteCount)
  }
}

/// Bytes that can be read at any offset: those of an open file, or an array of them.
enum ByteSource: Sendable {
  case file(OpenFile)
  case memory([UInt8], path: String)

  /// The file's name, for errors.
  var path: String {
    switch self {
    case .file(let file): file.path
    case .memory(_, let path): path
    }
  }

  var byteCount: Int {
    switch self {
    case .file(let file): file.byteCount
    case .memory(let bytes, _): bytes.count
    }
  }

  /// Fills `target` with the bytes from `offset` on, which are there.
  ///
  /// - Throws: `io`; `invalidFile` where a file has shrunk meanwhile.
  func read(into target: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    switch self {
    case .file(let file): try file.read(into: target, at: offset)
    case .memory(let bytes, _): target.copyBytes(from: bytes[offset..<offset + target.count])
    }
  }

  /// The bytes of a range that lies within the source.
  ///
  /// - Throws: as ``read(into:at:)``.
  func bytes(_ range: Range<Int>) throws -> [UInt8] {
    switch self {
    case .file(let file): try file.bytes(range)
    case .memory(let bytes, _): Array(bytes[range])
    }
  }
}

/// Reads numbers from bytes, front to back, and knows where it is.
struct ByteCursor {
  let bytes: [UInt8]
  /// The file's name, for errors.
  let path: String
  /// Where the bytes begin in the file.
  let base: Int
  private var at = 0

  init(_ bytes: [UInt8], path: String, base: Int = 0) {
    self.bytes = bytes
    self.path = path
    self.base = base
  }

  var remaining: Int { bytes.count - at }
  /// The byte that comes next, nil at the end.
  var next: UInt8? { at < bytes.count ? bytes[at] : nil }
  /// The place in the file.
  var offset: Int { base + at }

  func fail(_ what: String, at offset: Int? = nil, expected: String? = nil) -> ApusError {
    ApusError(.invalidFile, what, at: place(path, offset ?? self.offset), expected: expected)
  }

  /// The next `count` bytes.
  ///
  /// - Throws: `invalidFile` where there are fewer; `what` says what they are.
  mutating func take(_ count: Int, _ what: String) throws -> ArraySlice<UInt8> {
    guard count >= 0, count <= remaining else {
      throw fail(
        "\(what) ends early", at: base + bytes.count,
        expected: "\(count) bytes from byte \(offset) on, there are \(remaining)")
    }
    defer { at += count }
    return bytes[at..<at + count]
  }

  mutating func littleEndian<T: FixedWidthInteger>(_: T.Type, _ what: String) throws -> T {
    try take(MemoryLayout<T>.size, what).reversed().reduce(T(0)) {
      $0 << 8 | T(truncatingIfNeeded: $1)
    }
  }
}

/// The number of elements of a shape that a file claims, or nil where an extent is negative or the
/// product of those that are not zero overflows (strides are such products even if an extent is 0).
func checkedCount(_ dimensions: [Int]) -> Int? {
  var count = 1
  for extent in dimensions {
    let (product, overflow) = count.multipliedReportingOverflow(by: max(extent, 1))
    guard extent >= 0, !overflow else { return nil }
    count = product
  }
  return dimensions.contains(0) ? 0 : count
}
