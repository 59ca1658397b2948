// Inflating gzip files, as RFC 1952 describes them, with zlib.
//
// The whole stream is inflated into memory; its CRC and length are checked by zlib. Several members
// after one another are one stream, as with `gzip -d`.

import ApusGraph
import CZlib

enum Gzip {
  /// Whether the bytes begin as a gzip stream does.
  static func isGzip(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b
  }

  /// The inflated stream.
  ///
  /// - `limit`: the most bytes to make of it, against a small file that inflates to terabytes.
  /// - Throws: `invalidFile` with the offset in the *compressed* file where the stream is corrupt,
  ///   cut short, followed by something else, or larger than `limit`.
  static func inflate(_ bytes: [UInt8], path: String, limit: Int = 1 << 34) throws -> [UInt8] {
    var offset = 0
    var result: [UInt8] = []
    // The last four bytes are the length modulo 2^32; only a hint, for they may lie. Deflate does not
    // shrink anything to less than a 1032nd.
    if bytes.count >= 18 {
      let length = bytes.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
      result.reserveCapacity(min(length, bytes.count * 1032, limit))
    }
    repeat {
      guard isGzip(Array(bytes[offset...].prefix(2))) else {
        throw ApusError(
          .invalidFile, "something follows the compressed stream", at: place(path, offset),
          expected: "the end of the file")
      }
      let used = try inflateMember(bytes, from: offset, into: &result, path: path, limit: limit)
      offset += used
    } while offset < bytes.count
    return result
  }

  /// Inflates the member at `start`; returns the number of compressed bytes it takes.
  private static func inflateMember(
    _ bytes: [UInt8], from start: Int, into result: inout [UInt8], path: String, limit: Int
  ) throws -> Int {
    // 16 + 15: a gzip wrapper around a window of up to 32 KB.
    try runInflate(bytes, start..<bytes.count, windowBits: 31, into: &result, path: path, limit)
  }

  /// Inflates a raw deflate stream (as in zip archives) that fills `range` of `bytes`.
  static func inflateRaw(
    _ bytes: [UInt8], _ range: Range<Int>, byteCount: Int, path: String
  ) throws -> [UInt8] {
    var result: [UInt8] = []
    let used = try runInflate(
      bytes, range, windowBits: -15, into: &result, path: path, byteCount)
    guard used == range.count, result.count == byteCount else {
      throw ApusError(
        .invalidFile, "a compressed entry has \(result.count) bytes",
        at: place(path, range.lowerBound),
        expected: "\(byteCount) bytes, as the archive's directory says")
    }
    return result
  }

  private static func runInflate(
    _ bytes: [UInt8], _ range: Range<Int>, windowBits: Int32, into result: inout [UInt8],
    path: String, _ limit: Int
  ) throws -> Int {
    var stream = z_stream()
    guard
      inflateInit2_(
        &stream, windowBits, zlibVersion(), Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else {
      throw ApusError(.resource, "zlib cannot start", at: path, expected: "memory for its window")
    }
    defer { inflateEnd(&stream) }
    func fail(_ what: String) -> ApusError {
      ApusError(
        .invalidFile, "the compressed stream is damaged: \(what)",
        at: place(path, range.lowerBound + Int(stream.total_in)),
        expected: "a whole \(windowBits > 0 ? "gzip" : "deflate") stream")
    }
    // zlib counts in 32 bits, so both sides are handed over in pieces; small ones stay in the cache.
    let piece = 1 << 16
    return try bytes.withUnsafeBufferPointer { source -> Int in
      var status = Z_OK
      while status != Z_STREAM_END {
        let inputStart = range.lowerBound + Int(stream.total_in)
        let inputCount = min(piece, range.upperBound - inputStart)
        let produced = result.count
        // One byte beyond the limit tells a stream that is too long from one that just fits.
        let room = min(piece, limit - produced + 1)
        guard room > 0 else { throw fail("it inflates to more than \(limit) bytes") }
        let chunk = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
          stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress! + inputStart)
          stream.avail_in = UInt32(inputCount)
          stream.next_out = buffer.baseAddress
          stream.avail_out = UInt32(room)
          status = CZlib.inflate(&stream, Z_NO_FLUSH)
          count = room - Int(stream.avail_out)
        }
        result += chunk
        switch status {
        case Z_OK, Z_STREAM_END: break
        case Z_BUF_ERROR where inputStart + inputCount < range.upperBound || chunk.count == room:
          break
        case Z_BUF_ERROR: throw fail("it ends early")
        default: throw fail(stream.msg.map { String(cString: $0) } ?? "zlib error \(status)")
        }
        guard result.count <= limit else {
          throw fail("it inflates to more than \(limit) bytes")
        }
      }
      return Int(stream.total_in)
    }
  }
}
