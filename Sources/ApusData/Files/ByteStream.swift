// Bytes that come one after another: as they stand in a file, or inflated while they are read.
//
// Readers take a header from a stream and then exactly what it promises, straight into the memory of the
// array, so that nothing is ever held twice and nothing is inflated that nobody asked for.

import ApusGraph
import CZlib

/// Bytes that can be read once, from front to back.
protocol ByteStream: AnyObject {
  /// The bytes read so far.
  var offset: Int { get }
  /// The most bytes that can still come; it is exact for what is not compressed.
  var mostRemaining: Int { get }
  /// How errors name the place of that byte.
  func place(_ offset: Int) -> String
  /// Fills `target` as far as there are bytes; returns their number.
  func read(into target: UnsafeMutableRawBufferPointer) throws -> Int
}

extension ByteStream {
  func fail(_ what: String, at offset: Int? = nil, expected: String? = nil) -> ApusError {
    ApusError(.invalidFile, what, at: place(offset ?? self.offset), expected: expected)
  }

  /// The next `count` bytes; they should be few.
  ///
  /// - Throws: `invalidFile` where there are fewer; `what` says what they are.
  func take(_ count: Int, _ what: String) throws -> [UInt8] {
    let start = offset
    var bytes = [UInt8](repeating: 0, count: count)
    let got = try bytes.withUnsafeMutableBytes { try read(into: $0) }
    guard got == count else {
      throw fail(
        "the file ends within \(what)",
        expected: "\(count) bytes from byte \(start) on, there are \(got)")
    }
    return bytes
  }

  /// The next bytes as a number, the lowest first.
  func littleEndian<T: FixedWidthInteger>(_: T.Type, _ what: String) throws -> T {
    try take(MemoryLayout<T>.size, what).reversed().reduce(T(0)) {
      $0 << 8 | T(truncatingIfNeeded: $1)
    }
  }

  /// The next bytes as a number, the highest first.
  func bigEndian<T: FixedWidthInteger>(_: T.Type, _ what: String) throws -> T {
    try take(MemoryLayout<T>.size, what).reduce(T(0)) { $0 << 8 | T(truncatingIfNeeded: $1) }
  }
}

/// A range of a file as it stands.
final class PlainStream: ByteStream {
  private let source: ByteSource
  private let range: Range<Int>
  private(set) var offset = 0

  init(_ source: ByteSource, _ range: Range<Int>? = nil) {
    self.source = source
    self.range = range ?? 0..<source.byteCount
  }

  var mostRemaining: Int { range.count - offset }
  func place(_ offset: Int) -> String { ApusData.place(source.path, range.lowerBound + offset) }

  func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
    let count = min(target.count, mostRemaining)
    guard count > 0 else { return 0 }
    try source.read(
      into: UnsafeMutableRawBufferPointer(rebasing: target[..<count]), at: range.lowerBound + offset
    )
    offset += count
    return count
  }
}

/// What a deflated range of a file holds, inflated as it is read with zlib, which checks what sums a
/// stream has. Formats: RFC 1951 and 1952.
final class InflatingStream: ByteStream {
  enum Format {
    /// Members of gzip, one or several after one another, which are one stream as with `gzip -d`. Zeros may
    /// follow the last one, as a tape has them.
    case gzip
    /// A single zlib stream, with its checksum; zeros may follow.
    case zlib
    /// A single deflate stream that fills the range, as in zip archives.
    case raw
  }

  /// Deflate makes no more of a byte than this: 258 bytes of a code of 2 bits.
  static let mostExpansion = 1032

  private let source: ByteSource
  private let range: Range<Int>
  private let format: Format
  /// zlib's state points back at it.
  private let stream: UnsafeMutablePointer<z_stream>
  private let input: UnsafeMutableBufferPointer<UInt8>
  /// Where the bytes end that zlib was handed.
  private var inputEnd: Int
  private var isFinished = false
  private(set) var offset = 0

  /// - Throws: `resource` where zlib has no memory.
  init(_ source: ByteSource, _ range: Range<Int>?, _ format: Format) throws {
    self.source = source
    self.range = range ?? 0..<source.byteCount
    self.format = format
    inputEnd = self.range.lowerBound
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
    input = .allocate(capacity: 1 << 16)
    // 16 + 15: a gzip wrapper around a window of up to 32 KB; 15: zlib's own; negative: no wrapper.
    let windowBits: Int32 =
      switch format {
      case .gzip: 31
      case .zlib: 15
      case .raw: -15
      }
    let status = inflateInit2_(
      stream, windowBits, zlibVersion(), Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else {
      throw ApusError(.resource, "zlib cannot start", at: source.path, expected: "memory")
    }
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
    input.deallocate()
  }

  /// The place in the compressed file up to which zlib has read.
  private var consumed: Int { inputEnd - Int(stream.pointee.avail_in) }

  var mostRemaining: Int {
    if isFinished { return 0 }
    // What zlib has read may have bytes to come from it: a window of 32 KB and a code.
    let (bytes, overflow) = (range.upperBound - consumed)
      .multipliedReportingOverflow(by: Self.mostExpansion)
    return overflow ? .max : min(bytes, .max - 1 << 17) + 1 << 17
  }

  func place(_ offset: Int) -> String { ApusData.place("\(source.path) (decompressed)", offset) }

  private func damage(_ what: String) -> ApusError {
    ApusError(
      .invalidFile, "the compressed stream is damaged: \(what)",
      at: ApusData.place(source.path, consumed),
      expected: "a whole \(format == .gzip ? "gzip" : "deflate") stream")
  }

  func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
    var done = 0
    while done < target.count && !isFinished {
      if stream.pointee.avail_in == 0 && inputEnd < range.upperBound {
        let count = min(input.count, range.upperBound - inputEnd)
        try source.read(
          into: UnsafeMutableRawBufferPointer(
            rebasing: UnsafeMutableRawBufferPointer(input)[..<count]),
          at: inputEnd)
        stream.pointee.next_in = input.baseAddress
        stream.pointee.avail_in = UInt32(count)
        inputEnd += count
      }
      // zlib counts in 32 bits.
      let room = min(target.count - done, 1 << 30)
      stream.pointee.next_out = (target.baseAddress! + done).assumingMemoryBound(to: UInt8.self)
      stream.pointee.avail_out = UInt32(room)
      let status = inflate(stream, Z_NO_FLUSH)
      let made = room - Int(stream.pointee.avail_out)
      done += made
      offset += made
      switch status {
      case Z_OK: break
      case Z_STREAM_END: try endMember()
      case Z_BUF_ERROR where consumed == range.upperBound: throw damage("it ends early")
      case Z_BUF_ERROR: break
      default:
        throw damage(stream.pointee.msg.map { String(cString: $0) } ?? "zlib error \(status)")
      }
    }
    return done
  }

  /// What follows a stream: the end, another member, or zeros.
  private func endMember() throws {
    let next = try source.bytes(consumed..<min(consumed + 2, range.upperBound))
    if format == .gzip, Gzip.isGzip(next) {
      inflateReset(stream)
      return
    }
    isFinished = true
    var place = consumed
    while place < range.upperBound {
      let bytes = try source.bytes(place..<min(place + 1 << 16, range.upperBound))
      if format == .raw || bytes.contains(where: { $0 != 0 }) {
        throw ApusError(
          .invalidFile, "something follows the compressed stream",
          at: ApusData.place(source.path, consumed), expected: "the end of the stream's bytes")
      }
      place += bytes.count
    }
  }
}

/// Files that may be compressed with gzip.
enum Gzip {
  /// Whether the bytes begin as a gzip stream does.
  static func isGzip(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b
  }

  /// The source's bytes from the first one on, inflated where they are compressed.
  static func stream(_ source: ByteSource) throws -> (stream: any ByteStream, isCompressed: Bool) {
    guard isGzip(try source.bytes(0..<min(2, source.byteCount))) else {
      return (PlainStream(source), false)
    }
    return (try InflatingStream(source, nil, .gzip), true)
  }

  /// All bytes of the source, inflated where they are compressed.
  ///
  /// - Throws: `resource` where a compressed stream has more bytes than `limit`; `invalidFile` with the
  ///   offset in the compressed file where it is corrupt, cut short or followed by something else.
  static func contents(_ source: ByteSource, limit: MemoryLimit) throws -> [UInt8] {
    let (stream, isCompressed) = try stream(source)
    guard isCompressed else {
      if case .memory(let bytes, _) = source { return bytes }
      return try source.bytes(0..<source.byteCount)
    }
    // The last four bytes are the length modulo 2^32; only a hint, for they may lie.
    var result: [UInt8] = []
    if source.byteCount >= 18 {
      let length = try source.bytes(source.byteCount - 4..<source.byteCount).reversed()
        .reduce(0) { $0 << 8 | Int($1) }
      result.reserveCapacity(min(length, stream.mostRemaining, limit.byteCount))
    }
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { piece.deallocate() }
    while case let count = try stream.read(into: piece), count > 0 {
      try limit.check(
        result.count + count, for: "the file, inflated so far,", at: source.path)
      result += piece[..<count]
    }
    return result
  }
}
