// Reads PNG files as the pictures' writer makes them: zlib inflates, the lines' filters are undone.

import CZlib

/// A PNG of 8 bits, grey or RGB, taken apart; every checksum and length has been looked at.
package struct DecodedPNG {
  package var width: Int
  package var height: Int
  package var channels: Int
  package var pixels: [UInt8]
  /// The filters of the lines.
  package var filters: [UInt8]

  package enum Mistake: Error { case signature, chunk(String), header, data(String) }

  package init(_ bytes: [UInt8]) throws {
    guard bytes.starts(with: [137, 80, 78, 71, 13, 10, 26, 10]) else { throw Mistake.signature }
    func number(_ place: Int) -> Int { bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) } }
    var place = 8
    var chunks: [(type: String, data: [UInt8])] = []
    while place < bytes.count {
      guard place + 12 <= bytes.count else { throw Mistake.chunk("the end") }
      let count = number(place)
      guard place + 12 + count <= bytes.count else { throw Mistake.chunk("length") }
      let body = Array(bytes[place + 4..<place + 8 + count])
      let type = String(decoding: body.prefix(4), as: UTF8.self)
      guard Int(crc32(0, body, UInt32(body.count))) == number(place + 8 + count) else {
        throw Mistake.chunk(type)
      }
      chunks.append((type, Array(body.dropFirst(4))))
      place += 12 + count
    }
    guard chunks.map(\.type) == ["IHDR", "IDAT", "IEND"], chunks[0].data.count == 13,
      chunks[2].data.isEmpty
    else { throw Mistake.header }
    let header = chunks[0].data
    width = header[0..<4].reduce(0) { $0 << 8 | Int($1) }
    height = header[4..<8].reduce(0) { $0 << 8 | Int($1) }
    guard header[8] == 8, header[9] == 0 || header[9] == 2, Array(header[10...]) == [0, 0, 0] else {
      throw Mistake.header
    }
    channels = header[9] == 0 ? 1 : 3
    let pitch = width * channels
    var raw = [UInt8](repeating: 0, count: height * (pitch + 1))
    var length = UInt(raw.count)
    guard uncompress(&raw, &length, chunks[1].data, UInt(chunks[1].data.count)) == Z_OK,
      Int(length) == raw.count
    else { throw Mistake.data("deflate") }
    pixels = []
    filters = []
    var above = [UInt8](repeating: 0, count: pitch)
    for row in 0..<height {
      let start = row * (pitch + 1)
      let filter = raw[start]
      guard filter <= 4 else { throw Mistake.data("filter \(filter)") }
      filters.append(filter)
      var line = Array(raw[start + 1..<start + 1 + pitch])
      for x in 0..<pitch {
        let a = x >= channels ? Int(line[x - channels]) : 0
        let b = Int(above[x])
        let c = x >= channels ? Int(above[x - channels]) : 0
        let guess: Int
        switch filter {
        case 0: guess = 0
        case 1: guess = a
        case 2: guess = b
        case 3: guess = (a + b) / 2
        default:
          let p = a + b - c
          let (pa, pb, pc) = (abs(p - a), abs(p - b), abs(p - c))
          guess = pa <= pb && pa <= pc ? a : pb <= pc ? b : c
        }
        line[x] = line[x] &+ UInt8(guess)
      }
      pixels += line
      above = line
    }
  }
}
