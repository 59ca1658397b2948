// Pictures as PNG files: signature, chunks and line filters. Deflate and the checksums are zlib's.
//
// Portable Network Graphics, second edition (ISO/IEC 15948, W3C 2003).

import ApusGraph
import CZlib

/// Writes pictures as PNG: 8 bits, grey or RGB, one image in one chunk.
enum PNG {
  private static let signature: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

  /// The whole file.
  ///
  /// - Throws: `resource` where zlib has no memory.
  static func bytes(of picture: Picture) throws -> [UInt8] {
    var header = bigEndian(picture.width) + bigEndian(picture.height)
    // 8 bits; colour type 0 is grey, 2 is RGB; the only compression and filter method; not interlaced.
    header += [8, picture.channels == 1 ? 0 : 2, 0, 0, 0]
    return try signature + chunk("IHDR", header)
      + chunk("IDAT", deflated(filtered(picture), picture)) + chunk("IEND", [])
  }

  /// Length, type, data, and the checksum of type and data.
  private static func chunk(_ type: String, _ data: [UInt8]) -> [UInt8] {
    let body = Array(type.utf8) + data
    // zlib counts in 32 bits, and no chunk is longer than 31.
    let sum = body.withUnsafeBufferPointer { crc32(0, $0.baseAddress, UInt32($0.count)) }
    return bigEndian(data.count) + body + bigEndian(Int(sum))
  }

  private static func bigEndian(_ number: Int) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(number >> $0 & 0xff) }
  }

  private static func deflated(_ bytes: [UInt8], _ picture: Picture) throws -> [UInt8] {
    var length = compressBound(UInt(bytes.count))
    var result = [UInt8](repeating: 0, count: Int(length))
    let status = compress2(&result, &length, bytes, UInt(bytes.count), Z_BEST_COMPRESSION)
    guard status == Z_OK else {
      throw ApusError(
        .resource, "zlib cannot compress a picture of \(picture.width) x \(picture.height)",
        expected: "memory")
    }
    return Array(result.prefix(Int(length)))
  }

  /// The lines, each behind the number of its filter: the one that leaves the least sum of magnitudes, as the
  /// standard advises (section 12.8).
  private static func filtered(_ picture: Picture) -> [UInt8] {
    let (pitch, step) = (picture.width * picture.channels, picture.channels)
    var result: [UInt8] = []
    result.reserveCapacity(picture.height * (pitch + 1))
    var above = [UInt8](repeating: 0, count: pitch)
    for row in 0..<picture.height {
      let line = Array(picture.pixels[row * pitch..<(row + 1) * pitch])
      var best: (filter: UInt8, bytes: [UInt8], cost: Int)?
      for filter in 0...4 as ClosedRange<UInt8> {
        let bytes = filtered(line, above, step, filter)
        // As signed bytes: 255 is one below 0.
        let cost = bytes.reduce(0) { $0 + min(Int($1), 256 - Int($1)) }
        if cost < best?.cost ?? .max { best = (filter, bytes, cost) }
      }
      result.append(best?.filter ?? 0)
      result += best?.bytes ?? line
      above = line
    }
    return result
  }

  /// A line less what the filter predicts of its neighbours (section 9.2).
  ///
  /// - `step`: bytes of a pixel.
  private static func filtered(
    _ line: [UInt8], _ above: [UInt8], _ step: Int, _ filter: UInt8
  ) -> [UInt8] {
    if filter == 0 { return line }
    return line.indices.map { place in
      let left = place < step ? 0 : line[place - step]
      let up = above[place]
      let corner = place < step ? 0 : above[place - step]
      let guess: UInt8 =
        switch filter {
        case 1: left
        case 2: up
        case 3: UInt8((Int(left) + Int(up)) / 2)
        default: paeth(left, up, corner)
        }
      return line[place] &- guess
    }
  }

  /// Which of left, above and above-left is nearest to left + above - above-left (section 9.4).
  private static func paeth(_ left: UInt8, _ up: UInt8, _ corner: UInt8) -> UInt8 {
    let estimate = Int(left) + Int(up) - Int(corner)
    let distances = [left, up, corner].map { abs(estimate - Int($0)) }
    if distances[0] <= distances[1] && distances[0] <= distances[2] { return left }
    return distances[1] <= distances[2] ? up : corner
  }
}

extension Picture {
  /// The picture as the bytes of a PNG file.
  ///
  /// - Throws: `resource` where there is no memory.
  public func png() throws -> [UInt8] { try PNG.bytes(of: self) }

  /// Writes the picture as a PNG file; atomically, so that a file that exists is either the old one or the new
  /// one, whole.
  ///
  ///     try Picture(images, scale: .range(0...1)).write(png: "batch.png")
  ///
  /// - Throws: `io` where the file cannot be written, `resource` where there is no memory.
  public func write(png path: String) throws {
    let bytes = try png()
    try AtomicFile.write(to: path) { try $0.write(bytes) }
  }
}
