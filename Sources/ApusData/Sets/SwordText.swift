// Texts of the SWORD project, in its format zText: compressed blocks, one a book, and a table of verses.
//
// A folder has the files ot.* and nt.*, or one of them:
//   .bzs  for each block: offset and size in .bzz, size when inflated (3 times u32)
//   .bzv  for each verse: block, offset in the inflated block, size (u32, u32, u16)
//   .bzz  the blocks, as zlib streams
// All numbers are little-endian. Verses are OSIS, an XML of which only the words count here.

import ApusGraph

/// The verses of such a text, in order.
///
///     let text = try SwordText(contentsOf: "/usr/share/sword/modules/texts/ztext/engKJV2006eb")
///     text.verses[0]   // "In the beginning God created the heaven and the earth."
package struct SwordText: Sendable {
  /// Words without notes and titles, one space between them, for each entry of the tables; headings and verses that the
  /// text does not have are empty. Texts of one versification have the same verses at the same places.
  package let entries: [String]
  /// The entries that have words.
  package var verses: [String] { entries.filter { !$0.isEmpty } }
  /// A verse takes two bytes for its size, a block of one book a few hundred thousand.
  private static let mostBlockBytes = 1 << 26

  /// - Throws: `io` where no testament is there or a file cannot be read, `invalidFile` with the byte offset where
  ///   sizes, offsets or compressed bytes are not what they should be.
  package init(contentsOf folder: String) throws {
    let testaments = ["ot", "nt"].filter { TextFile.exists("\(folder)/\($0).bzv") }
    guard !testaments.isEmpty else {
      throw ApusError(
        .io, "there is no text of the SWORD project", at: folder,
        expected: "files ot.bzs, ot.bzv, ot.bzz, and the same of nt")
    }
    entries = try testaments.flatMap { try Self.entries(of: "\(folder)/\($0)") }
  }

  private static func entries(of path: String) throws -> [String] {
    let data = try OpenFile(path + ".bzz")
    let (table, places) = (try numbers(path + ".bzs", 12), try numbers(path + ".bzv", 10))
    var blocks: [[UInt8]] = []
    for (place, row) in table.enumerated() {
      blocks.append(
        try block(
          data, at: read(row, 0), size: read(row, 4), inflated: read(row, 8),
          listed: ApusData.place(path + ".bzs", 12 * place)))
    }
    return try places.enumerated().map { index, row in
      let (block, offset, size) = (read(row, 0), read(row, 4), read(row, 8, bytes: 2))
      if size == 0 { return "" }
      guard block < blocks.count, offset + size <= blocks[block].count else {
        throw ApusError(
          .invalidFile, "a verse lies at \(offset) in block \(block), of \(size) bytes",
          at: ApusData.place(path + ".bzv", 10 * index),
          expected: block < blocks.count
            ? "a place within its \(blocks[block].count) bytes" : "one of \(blocks.count) blocks")
      }
      return Osis.words(blocks[block][offset..<offset + size])
    }
  }

  /// The rows of a table.
  private static func numbers(_ path: String, _ width: Int) throws -> [ArraySlice<UInt8>] {
    let file = try OpenFile(path)
    guard file.byteCount % width == 0, file.byteCount <= mostBlockBytes else {
      throw ApusError(
        .invalidFile, "the table ends within a row", at: ApusData.place(path, file.byteCount),
        expected: "rows of \(width) bytes")
    }
    let bytes = try file.bytes(0..<file.byteCount)
    return stride(from: 0, to: bytes.count, by: width).map { bytes[$0..<$0 + width] }
  }

  private static func read(_ row: ArraySlice<UInt8>, _ offset: Int, bytes: Int = 4) -> Int {
    row.dropFirst(offset).prefix(bytes).reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  /// A block, inflated and checked.
  ///
  /// - `listed`: where the table has it.
  private static func block(
    _ data: OpenFile, at offset: Int, size: Int, inflated count: Int, listed: String
  ) throws -> [UInt8] {
    if size == 0, count == 0 { return [] }
    guard size > 0, offset + size <= data.byteCount, count <= mostBlockBytes else {
      throw ApusError(
        .invalidFile, "a block of \(size) bytes at \(offset), \(count) when inflated", at: listed,
        expected: "a place within the \(data.byteCount) bytes of .bzz")
    }
    // The project's own program leaves a thousand zeros behind each.
    let stream = try InflatingStream(.file(data), offset..<offset + size, .zlib)
    var bytes = [UInt8](repeating: 0, count: count + 1)
    let found = try bytes.withUnsafeMutableBytes { target in
      var done = 0
      while done < target.count {
        let part = UnsafeMutableRawBufferPointer(rebasing: target[done...])
        let more = try stream.read(into: part)
        if more == 0 { break }
        done += more
      }
      return done
    }
    guard found == count else {
      throw ApusError(
        .invalidFile,
        "a block inflates to \(found > count ? "more than \(count)" : "\(found)") bytes",
        at: ApusData.place(data.path, offset), expected: "\(count), as .bzs says")
    }
    bytes.removeLast()
    return bytes
  }
}

/// The words of OSIS, a language of marks for texts of the Bible.
enum Osis {
  /// What stands outside of marks, notes and titles, with one space between words.
  ///
  /// What is not UTF-8 becomes a replacement character, and marks that do not end go to the end.
  static func words(_ bytes: ArraySlice<UInt8>) -> String {
    var words: [UInt8] = []
    /// The element that is left out, while within one.
    var hidden: [UInt8]?
    var place = bytes.startIndex
    while place < bytes.endIndex {
      let byte = bytes[place]
      if byte == UInt8(ascii: "<") {
        let end = bytes[place...].firstIndex(of: UInt8(ascii: ">")) ?? bytes.endIndex
        let mark = bytes[place + 1..<end]
        place = min(end + 1, bytes.endIndex)
        let isEnd = mark.first == UInt8(ascii: "/"), isEmpty = mark.last == UInt8(ascii: "/")
        let name = Array(mark.drop { $0 == UInt8(ascii: "/") }.prefix(while: isLetter))
        if hidden == nil, !isEnd, !isEmpty, leftOut.contains(name) {
          hidden = name
        } else if isEnd, name == hidden {
          hidden = nil
        }
        continue
      }
      place += 1
      if hidden != nil { continue }
      let isSpace = byte == 0x20 || (0x09...0x0d).contains(byte)
      if !isSpace {
        words.append(byte)
      } else if let last = words.last, last != 0x20 {
        words.append(0x20)
      }
    }
    if words.last == 0x20 { words.removeLast() }
    let text = String(decoding: words, as: UTF8.self)
    return text.contains("&") ? entities.reduce(text) { replacing($1, in: $0) } : text
  }

  private static let leftOut: Set<[UInt8]> = [Array("note".utf8), Array("title".utf8)]
  /// The ampersand last, so that what it makes is not read again.
  private static let entities = [
    ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&"),
  ]

  private static func replacing(_ pair: (String, String), in text: String) -> String {
    text.split(separator: pair.0, omittingEmptySubsequences: false).joined(separator: pair.1)
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
  }
}
