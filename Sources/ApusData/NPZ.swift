// NumPy's archives: zip files of .npy files.
//
// Reads stored and deflated entries, ZIP64 included, by the central directory (the local sizes that
// `numpy.savez` writes are place holders). Writes stored entries below 4 GB. Not a general unzip: no
// encryption, no spanning. Format: PKWARE APPNOTE 6.3.

import ApusGraph
import CZlib

/// Reads and writes `.npz` archives.
///
///     let arrays = try NPZ.read("data.npz")   // ["x": …, "y": …]
public enum NPZ {
  /// All arrays of an archive, by name without `.npy`.
  ///
  /// - Throws: `io` where the file cannot be read, `invalidFile` with the byte offset of what is wrong,
  ///   `unsupported` as ``NPY/read(_:)``.
  public static func read(_ path: String) throws -> [String: NDArray] {
    try parse(try fileBytes(path, expected: "an .npz file"), path: path)
  }

  /// All arrays of an archive's bytes; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:)``.
  public static func parse(_ bytes: [UInt8], path: String = "<bytes>") throws -> [String: NDArray] {
    var result: [String: NDArray] = [:]
    for entry in try ZipArchive(bytes, path: path).entries() {
      guard entry.name.hasSuffix(".npy") else {
        throw ApusError(
          .invalidFile, "the archive's entry '\(entry.name)' is no array",
          at: place(path, entry.directoryOffset), expected: "names that end in .npy")
      }
      let name = String(entry.name.dropLast(4))
      guard result[name] == nil else {
        throw ApusError(
          .invalidFile, "the archive has '\(entry.name)' twice",
          at: place(path, entry.directoryOffset), expected: "unique names")
      }
      result[name] = try NPY.parse(entry.content, path: "\(path) (\(entry.name))")
    }
    return result
  }

  /// Writes an archive of uncompressed arrays, atomically, sorted by name.
  ///
  /// - Throws: `unsupported` for bf16 and for archives of 4 GB and more, `invalidArgument` for a name
  ///   that is empty, `io` where the file cannot be written.
  public static func write(_ arrays: [String: NDArray], to path: String) throws {
    var directory: [UInt8] = []
    let sorted = arrays.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    let total = sorted.reduce(0) { $0 + $1.value.type.byteCount + 512 + 2 * $1.key.utf8.count }
    guard total < Int(UInt32.max), sorted.count < Int(UInt16.max) else {
      throw ApusError(
        .unsupported, "the archive would have \(total) bytes", at: path,
        expected: "less than 4 GB; safetensors has no such limit")
    }
    try AtomicFile.write(to: path) { writer in
      for (name, array) in sorted {
        guard !name.isEmpty, name.utf8.count < 60000 else {
          throw ApusError(
            .invalidArgument, "an array is named '\(name.prefix(40))'", at: path,
            expected: "names of 1 to 60000 bytes")
        }
        let content = try NPY.bytes(array, path: path)
        let offset = writer.count
        let fields = ZipArchive.commonFields(name: name + ".npy", content: content)
        try writer.write([0x50, 0x4b, 0x03, 0x04] + fields + Array("\(name).npy".utf8))
        try writer.write(content)
        directory += [0x50, 0x4b, 0x01, 0x02, 20, 0] + fields
        // No comment, disk 0, no attributes but those of a plain file (0600, as zipfile writes).
        directory += [0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x01] + littleEndian(UInt32(offset))
        directory += Array("\(name).npy".utf8)
      }
      let start = writer.count
      try writer.write(directory)
      let count = littleEndian(UInt16(sorted.count))
      try writer.write(
        [0x50, 0x4b, 0x05, 0x06, 0, 0, 0, 0] + count + count
          + littleEndian(UInt32(directory.count)) + littleEndian(UInt32(start)) + [0, 0])
    }
  }
}

func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
}

/// The parts of the zip format that arrays need.
struct ZipArchive {
  struct Entry {
    let name: String
    let directoryOffset: Int
    let content: [UInt8]
  }

  private let bytes: [UInt8]
  private let path: String

  init(_ bytes: [UInt8], path: String) {
    self.bytes = bytes
    self.path = path
  }

  /// What local and central headers have in common: version to extract … length of the extra field.
  static func commonFields(name: String, content: [UInt8]) -> [UInt8] {
    let crc = content.withUnsafeBufferPointer { crc32_z(0, $0.baseAddress, $0.count) }
    let size = littleEndian(UInt32(content.count))
    // Version 2.0, UTF-8 names, stored, 1 January 1980.
    return [20, 0, 0, 0x08, 0, 0, 0, 0, 0x21, 0] + littleEndian(UInt32(truncatingIfNeeded: crc))
      + size + size + littleEndian(UInt16(name.utf8.count)) + [0, 0]
  }

  private func fail(_ what: String, at offset: Int, expected: String) -> ApusError {
    ApusError(.invalidFile, what, at: place(path, offset), expected: expected)
  }

  private func cursor(at offset: UInt64, _ what: String) throws -> ByteCursor {
    guard offset <= UInt64(bytes.count) else {
      throw fail(
        "\(what) lies beyond the end", at: bytes.count, expected: "an offset within the file")
    }
    return ByteCursor(bytes, path: path, offset: Int(offset))
  }

  /// Every entry, its content inflated and its checksum compared.
  func entries() throws -> [Entry] {
    let (count, start) = try directory()
    var cursor = try cursor(at: start, "the directory")
    var result: [Entry] = []
    for _ in 0..<count { result.append(try entry(&cursor)) }
    return result
  }

  /// The number of entries and where the directory begins.
  private func directory() throws -> (count: UInt64, start: UInt64) {
    // The end record is 22 bytes and a comment of up to 65535.
    let first = max(0, bytes.count - 22 - 65535)
    guard bytes.count >= 22,
      let end = stride(from: bytes.count - 22, through: first, by: -1).first(where: {
        bytes[$0...].starts(with: [0x50, 0x4b, 0x05, 0x06])
      })
    else {
      throw fail(
        "the end of a zip archive's directory is missing", at: bytes.count,
        expected: "a whole .npz file")
    }
    var cursor = ByteCursor(bytes, path: path, offset: end + 10)
    let count = try cursor.littleEndian(UInt16.self, "the directory's end")
    _ = try cursor.littleEndian(UInt32.self, "the directory's end")
    let start = try cursor.littleEndian(UInt32.self, "the directory's end")
    guard count == .max || start == .max, end >= 20,
      bytes[(end - 20)...].starts(with: [0x50, 0x4b, 0x06, 0x07])
    else { return (UInt64(count), UInt64(start)) }
    var locator = ByteCursor(bytes, path: path, offset: end - 20 + 8)
    var record = try self.cursor(
      at: try locator.littleEndian(UInt64.self, "the ZIP64 locator"), "the ZIP64 record")
    guard try record.take(4, "the ZIP64 record").elementsEqual([0x50, 0x4b, 0x06, 0x06]) else {
      throw fail("the ZIP64 record is not there", at: record.offset - 4, expected: "its signature")
    }
    _ = try record.take(28, "the ZIP64 record")
    let count64 = try record.littleEndian(UInt64.self, "the ZIP64 record")
    _ = try record.take(8, "the ZIP64 record")
    return (count64, try record.littleEndian(UInt64.self, "the ZIP64 record"))
  }

  private func entry(_ cursor: inout ByteCursor) throws -> Entry {
    let directoryOffset = cursor.offset
    guard try cursor.take(4, "the directory").elementsEqual([0x50, 0x4b, 0x01, 0x02]) else {
      throw fail("an entry of the directory is missing", at: directoryOffset, expected: "PK 1 2")
    }
    _ = try cursor.take(4, "the directory")
    let flags = try cursor.littleEndian(UInt16.self, "the directory")
    let method = try cursor.littleEndian(UInt16.self, "the directory")
    _ = try cursor.take(4, "the directory")
    let crc = try cursor.littleEndian(UInt32.self, "the directory")
    var packed = UInt64(try cursor.littleEndian(UInt32.self, "the directory"))
    var size = UInt64(try cursor.littleEndian(UInt32.self, "the directory"))
    let nameCount = Int(try cursor.littleEndian(UInt16.self, "the directory"))
    let extraCount = Int(try cursor.littleEndian(UInt16.self, "the directory"))
    let commentCount = Int(try cursor.littleEndian(UInt16.self, "the directory"))
    _ = try cursor.take(8, "the directory")
    var offset = UInt64(try cursor.littleEndian(UInt32.self, "the directory"))
    let nameBytes = try cursor.take(nameCount, "an entry's name")
    guard let name = String(validating: nameBytes, as: UTF8.self) else {
      throw fail("an entry's name is not UTF-8", at: directoryOffset, expected: "UTF-8")
    }
    var extra = ByteCursor(
      Array(try cursor.take(extraCount, "an entry's extra field")), path: "\(path) (\(name))")
    while extra.remaining >= 4 {
      let kind = try extra.littleEndian(UInt16.self, "the extra field")
      let length = Int(try extra.littleEndian(UInt16.self, "the extra field"))
      var field = ByteCursor(
        Array(try extra.take(length, "the extra field")), path: "\(path) (\(name))")
      guard kind == 1 else { continue }
      // ZIP64: those of the three that did not fit, in this order.
      if size == UInt32.max { size = try field.littleEndian(UInt64.self, "the ZIP64 sizes") }
      if packed == UInt32.max { packed = try field.littleEndian(UInt64.self, "the ZIP64 sizes") }
      if offset == UInt32.max { offset = try field.littleEndian(UInt64.self, "the ZIP64 sizes") }
    }
    _ = try cursor.take(commentCount, "an entry's comment")
    guard flags & 1 == 0 else {
      throw fail("'\(name)' is encrypted", at: directoryOffset, expected: "plain entries")
    }
    guard size <= UInt64(1) << 40, packed <= UInt64(bytes.count) else {
      throw fail(
        "'\(name)' has absurd sizes", at: directoryOffset, expected: "sizes that fit the file")
    }
    let content = try content(
      name, method: method, offset: offset, packed: Int(packed), size: Int(size))
    let actual = content.withUnsafeBufferPointer { crc32_z(0, $0.baseAddress, $0.count) }
    guard UInt32(truncatingIfNeeded: actual) == crc else {
      throw fail(
        "the checksum of '\(name)' is wrong", at: directoryOffset,
        expected: "0x\(String(crc, radix: 16)), got 0x\(String(actual, radix: 16))")
    }
    return Entry(name: name, directoryOffset: directoryOffset, content: content)
  }

  private func content(
    _ name: String, method: UInt16, offset: UInt64, packed: Int, size: Int
  ) throws -> [UInt8] {
    var local = try cursor(at: offset, "'\(name)'")
    guard try local.take(4, "an entry's header").elementsEqual([0x50, 0x4b, 0x03, 0x04]) else {
      throw fail("'\(name)' is not where the directory says", at: Int(offset), expected: "PK 3 4")
    }
    _ = try local.take(22, "an entry's header")
    let nameCount = Int(try local.littleEndian(UInt16.self, "an entry's header"))
    let extraCount = Int(try local.littleEndian(UInt16.self, "an entry's header"))
    _ = try local.take(nameCount + extraCount, "an entry's header")
    let start = local.offset
    let data = try local.take(packed, "'\(name)'")
    switch method {
    case 0:
      guard packed == size else {
        throw fail("'\(name)' has two sizes", at: start, expected: "equal sizes, it is stored")
      }
      return Array(data)
    case 8:
      return try Gzip.inflateRaw(bytes, data.indices, byteCount: size, path: path)
    default:
      throw ApusError(
        .unsupported, "'\(name)' is compressed by method \(method)", at: place(path, start),
        expected: "stored or deflated entries")
    }
  }
}
