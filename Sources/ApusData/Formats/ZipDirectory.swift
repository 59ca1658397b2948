// The directory of a zip file, and the members that it lists.
//
// Stored and deflated members, ZIP64 included; no encryption, no spanning. Everything that the file says
// twice must agree, and the directory must account for itself, so that one damaged byte does not make
// arrays vanish. Format: PKWARE APPNOTE 6.3.10.
//
//     other bytes   (local header, data)…   directory   [ZIP64 record, ZIP64 locator]   end record, comment

import ApusGraph
import CZlib

/// A zip file that has been checked, apart from what its members hold.
struct ZipDirectory: Sendable {
  /// A file or folder in the archive.
  struct Member: Sendable {
    var name = ""
    var nameBytes: [UInt8] = []
    /// Where the directory lists it.
    var directoryOffset = 0
    var flags: UInt16 = 0
    /// 0 for stored, 8 for deflated.
    var method: UInt16 = 0
    var crc: UInt32 = 0
    /// Bytes of its content.
    var byteCount = 0
    /// Bytes of its content in the file.
    var packedCount = 0
    /// Where its local header begins.
    var start = 0
    /// Where its content stands in the file.
    var data = 0..<0
  }

  let source: ByteSource
  /// In the directory's order.
  private(set) var members: [Member] = []

  /// Reads and checks the directory and all local headers.
  ///
  /// - Throws: `invalidFile` with the byte offset of what is wrong.
  init(_ source: ByteSource) throws {
    self.source = source
    let end = try EndRecord(source)
    var cursor = ByteCursor(
      try source.bytes(end.directory), path: source.path, base: end.directory.lowerBound)
    var names = Set<[UInt8]>()
    while cursor.remaining > 0 {
      let member = try listed(&cursor, shift: end.shift)
      guard names.insert(member.nameBytes).inserted else {
        throw fail(
          "the archive has '\(member.name)' twice", at: member.directoryOffset,
          expected: "unique names")
      }
      members.append(member)
    }
    guard members.count == end.memberCount else {
      throw fail(
        "the directory lists \(members.count) members", at: end.directory.lowerBound,
        expected: "\(end.memberCount), as the end record says")
    }
    members = try members.map { try located($0, before: end.directory.lowerBound) }
    try checkRanges()
  }

  private func fail(_ what: String, at offset: Int, expected: String) -> ApusError {
    ApusError(.invalidFile, what, at: place(source.path, offset), expected: expected)
  }

  /// The next entry of the directory.
  private func listed(_ cursor: inout ByteCursor, shift: Int) throws -> Member {
    let what = "the directory"
    var member = Member()
    member.directoryOffset = cursor.offset
    guard try cursor.take(4, what).elementsEqual([0x50, 0x4b, 0x01, 0x02]) else {
      throw fail(
        "an entry of the directory is missing", at: member.directoryOffset, expected: "PK 1 2")
    }
    _ = try cursor.take(2, what)
    let version = try cursor.littleEndian(UInt16.self, what)
    member.flags = try cursor.littleEndian(UInt16.self, what)
    member.method = try cursor.littleEndian(UInt16.self, what)
    _ = try cursor.take(4, what)
    member.crc = try cursor.littleEndian(UInt32.self, what)
    var packed = UInt64(try cursor.littleEndian(UInt32.self, what))
    var size = UInt64(try cursor.littleEndian(UInt32.self, what))
    let nameCount = Int(try cursor.littleEndian(UInt16.self, what))
    let extraCount = Int(try cursor.littleEndian(UInt16.self, what))
    let commentCount = Int(try cursor.littleEndian(UInt16.self, what))
    _ = try cursor.take(8, what)
    var offset = UInt64(try cursor.littleEndian(UInt32.self, what))
    member.nameBytes = Array(try cursor.take(nameCount, what))
    guard let name = String(validating: member.nameBytes, as: UTF8.self),
      !member.nameBytes.contains(0)
    else {
      throw fail(
        "a member's name is not UTF-8", at: member.directoryOffset, expected: "UTF-8 without zeros")
    }
    member.name = name
    try readZIP64(
      Array(try cursor.take(extraCount, what)), of: name, &size, &packed, &offset)
    _ = try cursor.take(commentCount, what)
    // Bits 0, 5, 6 and 13: encrypted, a patch, strongly encrypted, a masked header.
    guard member.flags & 0x2061 == 0, version & 0xff <= 63 else {
      throw ApusError(
        .unsupported, "'\(name)' is encrypted, or of a version of zip to come",
        at: place(source.path, member.directoryOffset), expected: "plain members")
    }
    let fileCount = UInt64(source.byteCount)
    guard packed <= fileCount, offset <= fileCount,
      member.method == 0
        ? size == packed : size <= (packed + 1) * UInt64(InflatingStream.mostExpansion)
    else {
      throw fail(
        "'\(name)' claims \(size) bytes of \(packed) at \(offset)", at: member.directoryOffset,
        expected: member.method == 0
          ? "equal sizes within the file, it is stored"
          : "sizes within the file, and at most \(InflatingStream.mostExpansion) times as many")
    }
    (member.byteCount, member.packedCount) = (Int(size), Int(packed))
    member.start = Int(offset) + shift
    return member
  }

  /// Takes from a ZIP64 field those of the three numbers that did not fit, in this order.
  private func readZIP64(
    _ bytes: [UInt8], of name: String, _ size: inout UInt64, _ packed: inout UInt64,
    _ offset: inout UInt64
  ) throws {
    var extra = ByteCursor(bytes, path: "\(source.path) (\(name), extra field)")
    while extra.remaining >= 4 {
      let kind = try extra.littleEndian(UInt16.self, "a field")
      let length = Int(try extra.littleEndian(UInt16.self, "a field"))
      var field = ByteCursor(Array(try extra.take(length, "a field")), path: extra.path)
      guard kind == 1 else { continue }
      if size == UInt32.max { size = try field.littleEndian(UInt64.self, "ZIP64") }
      if packed == UInt32.max { packed = try field.littleEndian(UInt64.self, "ZIP64") }
      if offset == UInt32.max { offset = try field.littleEndian(UInt64.self, "ZIP64") }
    }
  }

  /// The member with the place of its content; its local header is compared.
  private func located(_ member: Member, before end: Int) throws -> Member {
    let start = member.start
    func need(_ condition: Bool, _ what: String, expected: String) throws {
      guard condition else {
        throw fail("'\(member.name)' \(what)", at: start, expected: expected)
      }
    }
    try need(
      start <= end - 30, "lies beyond the members", expected: "its header before the directory")
    var header = ByteCursor(try source.bytes(start..<start + 30), path: source.path, base: start)
    let what = "a local header"
    try need(
      try header.take(4, what).elementsEqual([0x50, 0x4b, 0x03, 0x04]),
      "is not where the directory says", expected: "PK 3 4")
    _ = try header.take(2, what)
    let flags = try header.littleEndian(UInt16.self, what)
    let method = try header.littleEndian(UInt16.self, what)
    _ = try header.take(4, what)
    let crc = try header.littleEndian(UInt32.self, what)
    var packed = UInt64(try header.littleEndian(UInt32.self, what))
    var size = UInt64(try header.littleEndian(UInt32.self, what))
    let nameCount = Int(try header.littleEndian(UInt16.self, what))
    let extraCount = Int(try header.littleEndian(UInt16.self, what))
    let dataStart = start + 30 + nameCount + extraCount
    try need(
      dataStart <= end - member.packedCount, "runs into the directory",
      expected: "its content before byte \(end)")
    let rest = try source.bytes(start + 30..<dataStart)
    try need(
      rest.prefix(nameCount).elementsEqual(member.nameBytes), "has another name in its own header",
      expected: "one name")
    try need(
      method == member.method && flags & 0x2869 == member.flags & 0x2869,
      "is described in two ways", expected: "the same method and flags in header and directory")
    // Bit 3: who wrote it did not know sum and sizes yet and put them behind the content.
    if flags & 8 == 0 {
      var none: UInt64 = 0
      try readZIP64(Array(rest.dropFirst(nameCount)), of: member.name, &size, &packed, &none)
      try need(
        crc == member.crc && size == member.byteCount && packed == member.packedCount,
        "has other sizes in its own header", expected: "those of the directory")
    }
    var member = member
    member.data = dataStart..<dataStart + member.packedCount
    return member
  }

  /// No byte belongs to two members.
  private func checkRanges() throws {
    let sorted = members.sorted { ($0.start, $0.data.upperBound) < ($1.start, $1.data.upperBound) }
    for (one, next) in zip(sorted, sorted.dropFirst()) where next.start < one.data.upperBound {
      throw fail(
        "'\(next.name)' overlaps '\(one.name)'", at: next.start,
        expected: "its header from byte \(one.data.upperBound) on")
    }
  }

  /// The content of a member that is stored or deflated, its checksum compared at its end.
  func stream(of member: Member) throws -> any ByteStream {
    let content: any ByteStream =
      member.method == 0
      ? PlainStream(source, member.data) : try InflatingStream(source, member.data, .raw)
    return MemberStream(member, content, path: source.path)
  }

  /// What local and central headers have in common: version to extract … length of the extra field.
  static func commonFields(name: String, byteCount: Int, crc: UInt32) -> [UInt8] {
    let size = littleEndian(UInt32(byteCount))
    // Version 2.0, UTF-8 names, stored, 1 January 1980.
    return [20, 0, 0, 0x08, 0, 0, 0, 0, 0x21, 0] + littleEndian(crc) + size + size
      + littleEndian(UInt16(name.utf8.count)) + [0, 0]
  }
}

/// The record at the end of a zip file, and that of ZIP64.
private struct EndRecord {
  let memberCount: Int
  let directory: Range<Int>
  /// What is to be added to offsets in the file, because it stands after other bytes.
  let shift: Int

  init(_ source: ByteSource) throws {
    func fail(_ what: String, at offset: Int, expected: String) -> ApusError {
      ApusError(.invalidFile, what, at: place(source.path, offset), expected: expected)
    }
    // The record is 22 bytes and a comment of up to 65535.
    let tailStart = max(0, source.byteCount - 22 - 65535)
    let tail = try source.bytes(tailStart..<source.byteCount)
    let signature: [UInt8] = [0x50, 0x4b, 0x05, 0x06]
    guard tail.count >= 22,
      let found = stride(from: tail.count - 22, through: 0, by: -1).first(where: {
        tail[$0...].starts(with: signature)
      })
    else {
      throw fail(
        "the end of a zip archive's directory is missing", at: source.byteCount,
        expected: "a whole .npz file")
    }
    let end = tailStart + found
    var cursor = ByteCursor(Array(tail[(found + 4)...]), path: source.path, base: end + 4)
    let what = "the end record"
    let disks = try cursor.littleEndian(UInt32.self, what)
    let countHere = try cursor.littleEndian(UInt16.self, what)
    let count = try cursor.littleEndian(UInt16.self, what)
    let size = try cursor.littleEndian(UInt32.self, what)
    let start = try cursor.littleEndian(UInt32.self, what)
    let commentCount = Int(try cursor.littleEndian(UInt16.self, what))
    guard commentCount == cursor.remaining else {
      throw fail(
        "\(cursor.remaining) bytes follow the end record", at: end + 22,
        expected: "a comment of \(commentCount)")
    }
    guard disks == 0, count == countHere else {
      throw fail("the archive is one of several", at: end + 4, expected: "an archive in one file")
    }
    var record = (
      end: end, count: UInt64(count), size: UInt64(size), start: UInt64(start), shift: Int?.none
    )
    if end >= 20 + 56,
      case let locator = try source.bytes(end - 20..<end),
      locator.starts(with: [0x50, 0x4b, 0x06, 0x07])
    {
      let wide = try Self.zip64(source, locator, at: end - 20)
      guard count == .max || UInt64(count) == wide.count, size == .max || UInt64(size) == wide.size,
        start == .max || UInt64(start) == wide.start
      else {
        throw fail(
          "the two records of the directory do not agree", at: end, expected: "the same numbers")
      }
      record = wide
    }
    // The directory ends where its record begins. Where that is further on than it says, other bytes stand
    // before the archive.
    let (claimedEnd, overflow) = record.start.addingReportingOverflow(record.size)
    guard !overflow, claimedEnd <= UInt64(record.end),
      case let shift = record.end - Int(claimedEnd), record.shift == nil || record.shift == shift
    else {
      throw fail(
        "the directory of \(record.size) bytes at \(record.start) does not end at its record",
        at: record.end, expected: "a directory that ends there")
    }
    // An entry has 46 bytes at least.
    guard record.count <= record.size / 46, record.size <= Self.mostBytes else {
      throw fail(
        "the directory would list \(record.count) members in \(record.size) bytes", at: end,
        expected: "46 bytes or more for each, and at most \(Self.mostBytes)")
    }
    memberCount = Int(record.count)
    directory = record.end - Int(record.size)..<record.end
    self.shift = shift
  }

  /// More than any archive of arrays needs; directories are held in memory.
  private static let mostBytes = 1 << 28

  private static func zip64(
    _ source: ByteSource, _ locator: [UInt8], at place: Int
  ) throws -> (end: Int, count: UInt64, size: UInt64, start: UInt64, shift: Int?) {
    var cursor = ByteCursor(Array(locator.dropFirst(4)), path: source.path, base: place + 4)
    let what = "the ZIP64 record"
    func need(_ condition: Bool, _ what: String, at offset: Int, expected: String) throws {
      guard condition else {
        throw ApusError(
          .invalidFile, what, at: ApusData.place(source.path, offset), expected: expected)
      }
    }
    let disk = try cursor.littleEndian(UInt32.self, what)
    let claimed = try cursor.littleEndian(UInt64.self, what)
    let disks = try cursor.littleEndian(UInt32.self, what)
    try need(
      disk == 0 && disks <= 1, "the archive is one of several", at: place,
      expected: "an archive in one file")
    // It stands right before the locator, and has 56 bytes unless somebody extended it.
    var start = place - 56
    var record = ByteCursor(try source.bytes(start..<place), path: source.path, base: start)
    if !record.bytes.starts(with: [0x50, 0x4b, 0x06, 0x06] + littleEndian(UInt64(44))) {
      try need(
        claimed <= UInt64(place - 56), "the ZIP64 record is not there", at: place,
        expected: "an offset within the file")
      start = Int(claimed)
      try need(
        place - start <= 1 << 16, "the ZIP64 record is not there", at: place,
        expected: "a record right before its locator")
      record = ByteCursor(try source.bytes(start..<place), path: source.path, base: start)
    }
    try need(
      claimed <= UInt64(start), "the ZIP64 record is not where its locator says", at: place,
      expected: "an offset of \(start) at most")
    try need(
      try record.take(4, what).elementsEqual([0x50, 0x4b, 0x06, 0x06]),
      "the ZIP64 record is not there", at: start, expected: "PK 6 6")
    let size = try record.littleEndian(UInt64.self, what)
    try need(
      size == UInt64(place - start - 12), "the ZIP64 record does not end at its locator", at: start,
      expected: "a size of \(place - start - 12)")
    _ = try record.take(4, what)
    let ownDisks = try record.littleEndian(UInt64.self, what)
    let countHere = try record.littleEndian(UInt64.self, what)
    let count = try record.littleEndian(UInt64.self, what)
    try need(
      ownDisks == 0 && count == countHere, "the archive is one of several", at: start,
      expected: "an archive in one file")
    let directorySize = try record.littleEndian(UInt64.self, what)
    let directoryStart = try record.littleEndian(UInt64.self, what)
    return (start, count, directorySize, directoryStart, start - Int(claimed))
  }
}

/// The content of a member; where it ends, its size and checksum are compared with the directory's.
private final class MemberStream: ByteStream {
  private let member: ZipDirectory.Member
  private let content: any ByteStream
  private let path: String
  private var sum: UInt32 = 0

  init(_ member: ZipDirectory.Member, _ content: any ByteStream, path: String) {
    self.member = member
    self.content = content
    self.path = path
  }

  var offset: Int { content.offset }
  var mostRemaining: Int { member.byteCount - content.offset }
  func place(_ offset: Int) -> String { ApusData.place("\(path) (\(member.name))", offset) }

  func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
    var done = 0
    while done < target.count {
      // Small enough that the sum finds the bytes in the cache.
      let room = min(target.count - done, 1 << 17)
      let piece = UnsafeMutableRawBufferPointer(rebasing: target[done..<done + room])
      let count = try content.read(into: piece)
      sum = crc(of: UnsafeRawBufferPointer(rebasing: piece[..<count]), after: sum)
      done += count
      guard mostRemaining >= 0 else { throw wrongSize("more than \(member.byteCount)") }
      if count < room { try checkEnd(); break }
    }
    return done
  }

  private func checkEnd() throws {
    guard mostRemaining == 0 else { throw wrongSize("\(offset)") }
    guard sum == member.crc else {
      throw ApusError(
        .invalidFile, "the checksum of '\(member.name)' is wrong",
        at: ApusData.place(path, member.directoryOffset),
        expected: "0x\(String(member.crc, radix: 16)), got 0x\(String(sum, radix: 16))")
    }
  }

  private func wrongSize(_ count: String) -> ApusError {
    ApusError(
      .invalidFile, "'\(member.name)' has \(count) bytes",
      at: ApusData.place(path, member.data.lowerBound),
      expected: "\(member.byteCount) bytes, as the archive's directory says")
  }
}
