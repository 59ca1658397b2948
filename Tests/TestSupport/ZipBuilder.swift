// Zip and gzip files for tests, right ones and such as are not what they say.

import CZlib

/// Makes zip files, byte by byte.
package struct ZipBuilder {
  /// A member: what the directory says of it, and what its own header says where that differs.
  package struct Member {
    package var name: [UInt8]
    package var localName: [UInt8]?
    package var content: [UInt8]
    package var isDeflated = false
    /// What the directory says of the content's size.
    package var claimedCount: Int?
    /// The bit for sizes behind the content.
    package var isStreamed = false

    package init(_ name: String, _ content: [UInt8], isDeflated: Bool = false) {
      self.name = Array(name.utf8)
      self.content = content
      self.isDeflated = isDeflated
    }
  }

  package var members: [Member]
  /// Bytes before the archive, and whether its offsets count them.
  package var prefix: [UInt8] = []
  package var countsPrefix = false
  package var comment: [UInt8] = []
  package var isZIP64 = false
  /// Where the directory says that a member begins, from where it does.
  package var start: (_ index: Int, _ start: Int) -> Int = { $1 }
  /// The number of members that the end record tells.
  package var claimedMembers: Int?

  package init(_ members: [Member]) { self.members = members }

  /// The bytes of the file.
  package var bytes: [UInt8] {
    var result = prefix
    var directory: [UInt8] = []
    let base = countsPrefix ? 0 : prefix.count
    for (index, member) in members.enumerated() {
      let start = start(index, result.count - base)
      let data = member.isDeflated ? Self.deflated(member.content, .raw) : member.content
      let crc = UInt32(truncatingIfNeeded: crc32_z(0, member.content, member.content.count))
      func fields(_ count: Int, _ name: [UInt8], _ extra: [UInt8]) -> [UInt8] {
        var text: [UInt8] = [45, 0, member.isStreamed ? 8 : 0, 8, member.isDeflated ? 8 : 0, 0]
        text += [0, 0, 0x21, 0] + le(crc, 4)
        text += isZIP64 ? le(UInt32.max, 4) + le(UInt32.max, 4) : le(data.count, 4) + le(count, 4)
        return text + le(name.count, 2) + le(extra.count, 2)
      }
      let claimed = member.claimedCount ?? member.content.count
      let sizes = le(1, 2) + le(16, 2) + le(claimed, 8) + le(data.count, 8)
      let local = member.localName ?? member.name
      var header = fields(claimed, local, isZIP64 ? sizes : [])
      if member.isStreamed {
        header.replaceSubrange(10..<22, with: [UInt8](repeating: 0, count: 12))
      }
      result += [0x50, 0x4b, 3, 4] + header + local + (isZIP64 ? sizes : []) + data
      if member.isStreamed {
        result += [0x50, 0x4b, 7, 8] + le(crc, 4) + le(data.count, 4) + le(claimed, 4)
      }
      let extra = isZIP64 ? le(1, 2) + le(24, 2) + sizes[4...] + le(start, 8) : []
      directory += [0x50, 0x4b, 1, 2, 45, 3] + fields(claimed, member.name, extra)
      directory += [0, 0, 0, 0, 0, 0, 0, 0, 0, 0] + (isZIP64 ? le(UInt32.max, 4) : le(start, 4))
      directory += member.name + extra
    }
    let start = result.count - base
    result += directory
    let count = claimedMembers ?? members.count
    if isZIP64 {
      let record = result.count - base
      result += [0x50, 0x4b, 6, 6] + le(44, 8) + [45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]
      result += le(count, 8) + le(count, 8) + le(directory.count, 8) + le(start, 8)
      result += [0x50, 0x4b, 6, 7, 0, 0, 0, 0] + le(record, 8) + [1, 0, 0, 0]
    }
    result += [0x50, 0x4b, 5, 6, 0, 0, 0, 0]
    result +=
      isZIP64
      ? [UInt8](repeating: 0xff, count: 12)
      : le(count, 2) + le(count, 2) + le(directory.count, 4) + le(start, 4)
    return result + le(comment.count, 2) + comment
  }

  private func le(_ value: some BinaryInteger, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: UInt64(truncatingIfNeeded: value) >> (8 * $0)) }
  }

  /// What stands around a deflated stream.
  package enum Wrapper: Int32 { case raw = -15, gzip = 31 }

  /// The bytes deflated.
  ///
  /// - `zeros`: how many zeros follow them, which need not be held in memory.
  package static func deflated(
    _ bytes: [UInt8], zeros: Int = 0, _ wrapper: Wrapper = .gzip
  ) -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(
      &stream, 6, Z_DEFLATED, wrapper.rawValue, 8, Z_DEFAULT_STRATEGY, zlibVersion(),
      Int32(MemoryLayout<z_stream>.size))
    defer { deflateEnd(&stream) }
    var result: [UInt8] = []
    var target = [UInt8](repeating: 0, count: 1 << 16)
    func add(_ part: [UInt8], _ flush: Int32) {
      var part = part
      part.withUnsafeMutableBufferPointer { source in
        stream.next_in = source.baseAddress
        stream.avail_in = UInt32(source.count)
        repeat {
          target.withUnsafeMutableBufferPointer { target in
            stream.next_out = target.baseAddress
            stream.avail_out = UInt32(target.count)
            deflate(&stream, flush)
          }
          result += target[..<(target.count - Int(stream.avail_out))]
        } while stream.avail_out == 0
      }
    }
    add(bytes, Z_NO_FLUSH)
    let block = [UInt8](repeating: 0, count: 1 << 20)
    for start in stride(from: 0, to: zeros, by: block.count) {
      add(Array(block.prefix(zeros - start)), Z_NO_FLUSH)
    }
    add([], Z_FINISH)
    return result
  }
}
