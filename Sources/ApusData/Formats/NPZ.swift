// NumPy's archives: zip files of .npy files. The zip format itself: ZipDirectory.swift.

import ApusGraph
import CZlib

/// Reads and writes `.npz` archives.
///
///     let arrays = try NPZ.read("data.npz")   // ["x": …, "y": …]
public enum NPZ {
  /// All arrays of an archive, by name without `.npy`, in the archive's order. Folders and members that
  /// are no `.npy` files, such as a README, are left out; ``NPZFile/otherNames`` has their names.
  ///
  /// The directory and every member's place in the file are checked before anything is inflated; see
  /// ``NPZFile``. An archive may follow other bytes, such as a program that unpacks it.
  ///
  /// - `limit`: the most bytes that all arrays together may have; nil stands for four fifths of the free
  ///   memory.
  /// - Throws: `io` where the file cannot be read, `invalidFile` with the byte offset of what is wrong,
  ///   `unsupported` as ``NPY/read(_:)``, `resource` naming the member that crosses `limit`.
  public static func read(_ path: String, limit: Int? = nil) throws -> NamedArrays {
    try NPZFile(path).arrays(limit: limit)
  }

  /// All arrays of an archive's bytes; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:limit:)``.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", limit: Int? = nil
  ) throws -> NamedArrays {
    try NPZFile(.memory(bytes, path: path)).arrays(limit: limit)
  }

  /// Writes an archive of uncompressed arrays, atomically, sorted by name.
  ///
  /// - `arrays`: a dictionary, or ``NamedArrays``.
  /// - Throws: `unsupported` for bf16 and for archives of 4 GB and more, `invalidArgument` for a name
  ///   that is empty, has a zero byte or stands twice, `io` where the file cannot be written.
  public static func write(
    _ arrays: some Sequence<(key: String, value: NDArray)>, to path: String
  ) throws {
    var directory: [UInt8] = []
    let sorted = try uniquelyNamed(arrays, path: path) {
      $0.key.utf8.lexicographicallyPrecedes($1.key.utf8)
    }
    let total = sorted.reduce(0) { $0 + $1.value.type.byteCount + 512 + 2 * $1.key.utf8.count }
    guard total < Int(UInt32.max), sorted.count < Int(UInt16.max) else {
      throw ApusError(
        .unsupported, "the archive would have \(total) bytes", at: path,
        expected: "less than 4 GB; safetensors has no such limit")
    }
    try AtomicFile.write(to: path) { writer in
      for (name, array) in sorted {
        guard !name.isEmpty, name.utf8.count < 60000, !name.utf8.contains(0) else {
          throw ApusError(
            .invalidArgument, "an array is named '\(name.prefix(40))'", at: path,
            expected: "names of 1 to 60000 bytes, none of them 0")
        }
        let header = try NPY.header(array.type, path: path)
        let offset = writer.count
        let sum = array.withUnsafeBytes {
          crc(of: $0, after: header.withUnsafeBytes { crc(of: $0) })
        }
        let fields = ZipDirectory.commonFields(
          name: name + ".npy", byteCount: header.count + array.type.byteCount, crc: sum)
        try writer.write([0x50, 0x4b, 0x03, 0x04] + fields + Array("\(name).npy".utf8))
        try writer.write(header)
        try array.withUnsafeBytes { try writer.write($0) }
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

/// A `.npz` archive that has been opened and checked; arrays are read from it one by one.
///
///     let file = try NPZFile("data.npz")
///     let x = try file.array("x")            // nothing else is inflated
///
/// Names are told apart by their bytes. What the archive says of itself is checked when it is opened: the
/// directory fills the room that the end record gives it, names are unique and stand before the members
/// too, and members neither overlap nor claim more than their bytes can hold.
public struct NPZFile: Sendable {
  /// The names of the arrays, without `.npy`, in the archive's order.
  public let names: [String]
  /// The names of members that are no `.npy` files; folders are left out.
  public let otherNames: [String]
  private let directory: ZipDirectory
  private let members: [ByteName: ZipDirectory.Member]

  /// Opens an archive and checks its whole directory.
  ///
  /// - Throws: `io` where the file cannot be read, `invalidFile` with the byte offset of what is wrong.
  public init(_ path: String) throws {
    try self.init(.file(try OpenFile(path, expected: "an .npz file")))
  }

  init(_ source: ByteSource) throws {
    directory = try ZipDirectory(source)
    var names: [String] = []
    var others: [String] = []
    var members: [ByteName: ZipDirectory.Member] = [:]
    for member in directory.members {
      if member.name.utf8.suffix(4).elementsEqual(".npy".utf8) {
        let name = String(decoding: member.name.utf8.dropLast(4), as: UTF8.self)
        names.append(name)
        members[ByteName(name)] = member
      } else if member.name.utf8.last != UInt8(ascii: "/") {
        others.append(member.name)
      }
    }
    self.names = names
    otherNames = others
    self.members = members
  }

  public var path: String { directory.source.path }

  /// Reads one array.
  ///
  /// - `limit`: the most bytes that it may have; nil stands for four fifths of the free memory.
  /// - Throws: `missing` where there is none of that name; else as ``NPZ/read(_:limit:)``.
  public func array(_ name: String, limit: Int? = nil) throws -> NDArray {
    guard let member = members[ByteName(name)] else {
      let near = names.prefix(8).joined(separator: ", ")
      throw ApusError(
        .missing, "there is no array '\(name)' in the archive", at: path,
        expected: names.isEmpty
          ? "an archive with arrays" : "one of \(near)\(names.count > 8 ? ", …" : "")")
    }
    let limit = try MemoryLimit(limit)
    try check(member, limit, before: 0)
    return try array(member, limit)
  }

  /// Reads all arrays.
  ///
  /// - Throws: as ``NPZ/read(_:limit:)``.
  public func arrays(limit: Int? = nil) throws -> NamedArrays {
    let limit = try MemoryLimit(limit)
    var claimed = 0
    for name in names {
      let member = members[ByteName(name)]!
      try check(member, limit, before: claimed)
      // The file has at most 2^63 bytes, and each of them becomes at most 1032.
      claimed = claimed.addingReportingOverflow(member.byteCount).partialValue
    }
    // What integers grow by when they are widened is not in the directory.
    var left = limit.byteCount
    var result = NamedArrays()
    for name in names {
      let array = try array(members[ByteName(name)]!, MemoryLimit(left))
      left -= array.type.byteCount
      result[name] = array
    }
    return result
  }

  /// What can be known before a member is read.
  private func check(_ member: ZipDirectory.Member, _ limit: MemoryLimit, before: Int) throws {
    guard member.method == 0 || member.method == 8 else {
      throw ApusError(
        .unsupported, "'\(member.name)' is compressed by method \(member.method)",
        at: place(path, member.data.lowerBound), expected: "stored or deflated members")
    }
    let (total, overflow) = before.addingReportingOverflow(member.byteCount)
    try limit.check(
      overflow ? .max : total,
      for: before == 0 ? "'\(member.name)'" : "'\(member.name)' with the arrays before it",
      at: place(path, member.directoryOffset))
  }

  private func array(_ member: ZipDirectory.Member, _ limit: MemoryLimit) throws -> NDArray {
    let stream = try directory.stream(of: member)
    return try NPY.array(from: stream, limit: limit, name: "'\(member.name)'")
  }
}

func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
}

/// The checksum of zip and gzip.
func crc(of bytes: UnsafeRawBufferPointer, after start: UInt32 = 0) -> UInt32 {
  // zlib takes no address for the start of a sum.
  guard let base = bytes.baseAddress, bytes.count > 0 else { return start }
  return UInt32(
    truncatingIfNeeded: crc32_z(
      UInt(start), base.assumingMemoryBound(to: UInt8.self), bytes.count))
}
