// A text of the SWORD project, written for tests.

import Foundation

/// A folder in the format zText, its blocks stored without compression.
package final class ZText {
  package let folder = FileManager.default.temporaryDirectory.appending(path: "apus-text-\(UUID())")
  package var path: String { folder.path }

  /// - `books`: of each block its verses.
  package init(_ books: [[String]], testament: String = "ot") throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var (blocks, verses, data) = ([UInt8](), [UInt8](), [UInt8]())
    func number(_ value: Int, _ bytes: Int) -> [UInt8] {
      (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    for (book, texts) in books.enumerated() {
      var inflated: [UInt8] = []
      for text in texts {
        verses += number(book, 4) + number(inflated.count, 4) + number(text.utf8.count, 2)
        inflated += text.utf8
      }
      var (a, b) = (1, 0)
      for byte in inflated {
        a = (a + Int(byte)) % 65_521
        b = (b + a) % 65_521
      }
      var stream: [UInt8] = [0x78, 0x01]
      let pieces = stride(from: 0, to: max(inflated.count, 1), by: 65_535).map {
        inflated[$0..<min($0 + 65_535, inflated.count)]
      }
      for (place, piece) in pieces.enumerated() {
        stream += [place == pieces.count - 1 ? 1 : 0] + number(piece.count, 2)
        stream += number(~piece.count, 2) + piece
      }
      stream += number(b << 16 | a, 4).reversed()
      // As the project's own program leaves behind each.
      stream += [UInt8](repeating: 0, count: 40)
      blocks += number(data.count, 4) + number(stream.count, 4) + number(inflated.count, 4)
      data += stream
    }
    for (name, bytes) in [("bzs", blocks), ("bzv", verses), ("bzz", data)] {
      try write(bytes, "\(testament).\(name)")
    }
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  package func write(_ bytes: [UInt8], _ name: String) throws {
    try Data(bytes).write(to: folder.appending(path: name))
  }

  package func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: folder.appending(path: name)))
  }
}
