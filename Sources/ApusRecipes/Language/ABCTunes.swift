// Tunes in ABC notation (https://abcnotation.com/wiki/abc:standard:v2.1), as the text that a network reads.

import Apus
import Foundation

enum ABCTunes {
  /// Fields that are kept: title, rhythm, metre, length of a note, key. Where a tune was found is left out.
  private static let kept: Set<Character> = ["T", "R", "M", "L", "K"]

  /// The tunes of a folder's files, in the order of the files' names.
  ///
  /// - Throws: `io` where there are none or one cannot be read, `invalidFile` for text that is not UTF-8 or has no tune.
  static func read(_ folder: String, expected: String) throws -> [String] {
    let files = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
      .filter { $0.hasSuffix(".abc") }.sorted()
    guard !files.isEmpty else {
      throw ApusError(
        .io, "the tunes are not there: no file *.abc", at: folder, expected: expected)
    }
    let tunes = try files.flatMap { parse(try TextFile.contents("\(folder)/\($0)")) }
    guard !tunes.isEmpty else {
      throw ApusError(
        .invalidFile, "no file has a tune", at: folder, expected: "tunes that begin with X:")
    }
    return tunes
  }

  /// The tunes of a text: from each `X:` on, fields that count and lines of notes, one space where there are several.
  static func parse(_ text: String) -> [String] {
    var tunes: [[String]] = []
    for line in text.split(whereSeparator: \.isNewline) {
      let words = line.split(whereSeparator: \.isWhitespace)
      guard let first = words.first, first.first != "%" else { continue }
      if line.hasPrefix("X:") {
        tunes.append([])
      } else if let name = line.first, name.isLetter, line.dropFirst().first == ":" {
        guard kept.contains(name), !tunes.isEmpty else { continue }
        let value = line.dropFirst(2).split(whereSeparator: \.isWhitespace)
        tunes[tunes.count - 1].append("\(name):" + value.joined(separator: " "))
      } else if !tunes.isEmpty {
        tunes[tunes.count - 1].append(words.joined(separator: " "))
      }
    }
    return tunes.filter { !$0.isEmpty }.map { $0.joined(separator: "\n") + "\n" }
  }
}
