// What tests of tokenizers share: fixtures that Fixtures/make.py has written.

import ApusGraph
import Foundation
import Testing

@testable import ApusData
@testable import ApusText

enum Fixture {
  static func path(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/\(name)").path
  }

  static func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer(file: path("\(name).json"))
  }

  /// The lines of a compressed file.
  static func lines(_ name: String) throws -> [JSON] {
    let (stream, _) = try Gzip.stream(.file(try OpenFile(path("\(name).jsonl.gz"))))
    var bytes: [UInt8] = []
    while true {
      var part = [UInt8](repeating: 0, count: 1 << 16)
      let got = try part.withUnsafeMutableBytes { try stream.read(into: $0) }
      bytes += part[..<got]
      if got < 1 << 16 { break }
    }
    return try bytes.split(separator: 0x0a).map { try JSON(parsing: $0) }
  }

  static func sentences() throws -> [String] {
    try JSON(parsing: TextFile.bytes(path("sentences.json"))).elements!.map { $0.string! }
  }
}

extension JSON {
  /// A list of whole numbers.
  var integers: [Int] { (elements ?? []).map { $0.integer! } }
}

extension Encoding {
  var flatOffsets: [Int] { offsets.flatMap { [$0.lowerBound, $0.upperBound] } }
}

/// Strings that are the same bytes: Swift's own equality goes by Unicode's.
func same(_ a: String, _ b: String?) -> Bool { b.map { ByteName(a) == ByteName($0) } ?? false }

/// A path of nobody's, whose file goes away with it.
final class TemporaryPath {
  let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

func bytes(_ path: String) throws -> [UInt8] { try TextFile.bytes(path) }
