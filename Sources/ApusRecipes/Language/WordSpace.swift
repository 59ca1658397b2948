// What vectors of words are good for: their neighbours, and people's ratings of how alike words are.

import Apus
import Foundation

/// Words by their vectors' directions.
struct WordSpace {
  private let words: WordNumbers
  private let width: Int
  /// Of length 1 each, one behind the other.
  private let directions: [Float]

  init(_ vectors: NDArray, words: WordNumbers) {
    self.words = words
    width = vectors.shape[1]
    var values = vectors.floats
    for row in 0..<vectors.shape[0] {
      let places = row * width..<(row + 1) * width
      let norm = values[places].reduce(0) { $0 + $1 * $1 }.squareRoot()
      if norm > 0 { for place in places { values[place] /= norm } }
    }
    directions = values
  }

  func cosine(_ a: Int, _ b: Int) -> Double {
    var sum: Float = 0
    for place in 0..<width { sum += directions[a * width + place] * directions[b * width + place] }
    return Double(sum)
  }

  /// The words nearest to some, a line each.
  var neighbours: String {
    let wanted = ["king", "music", "france", "river", "science", "war", "black", "seven"]
    let known = wanted.compactMap { words[$0] }
    // A text of other words has its own frequent ones.
    let shown = known.isEmpty ? Array(words.words.indices.prefix(4)) : known
    return shown.map { word in
      let near = words.words.indices.filter { $0 != word }
        .map { (word: $0, likeness: cosine(word, $0)) }
        .sorted { $0.likeness > $1.likeness }.prefix(6)
      return "  \(words.words[word]): "
        + near.map { words.words[$0.word] }.joined(separator: ", ")
    }.joined(separator: "\n")
  }
}

/// Two words and how alike people find them.
struct RatedPair: Equatable {
  var first: String
  var second: String
  var rating: Double

  /// The pairs of a file: two words and a number a line, with tabs between; `#` begins a comment.
  ///
  /// - Throws: `io` where it cannot be read; `invalidFile` with the line that is none, and for a file without pairs.
  static func read(_ path: String) throws -> [RatedPair] {
    try parse(TextFile.contents(path, expected: "pairs of words with ratings"), path: path)
  }

  /// As ``read(_:)``, of text; `path` names it in errors.
  static func parse(_ text: String, path: String) throws -> [RatedPair] {
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    let pairs = try lines.enumerated().compactMap { place, line -> RatedPair? in
      if line.allSatisfy(\.isWhitespace) || line.first == "#" { return nil }
      let columns = line.split(separator: "\t").map { $0.trimmingCharacters(in: .whitespaces) }
      guard columns.count >= 3, let rating = Double(columns[2]), rating.isFinite else {
        throw ApusError(
          .invalidFile, "'\(line.prefix(40))' is no rated pair", at: "\(path), line \(place + 1)",
          expected: "two words and a number, with tabs between")
      }
      return RatedPair(
        first: columns[0].lowercased(), second: columns[1].lowercased(), rating: rating)
    }
    guard !pairs.isEmpty else {
      throw ApusError(.invalidFile, "the file has no pairs", at: path, expected: "rated pairs")
    }
    return pairs
  }
}
