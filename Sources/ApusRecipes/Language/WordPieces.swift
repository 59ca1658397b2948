// Text as words: the pieces that a model of words reads, and what it takes to spell those it does not know.

import Apus
import Foundation

/// Pieces of a text, numbered by how often they stand in it: a word with the space before it, or any other character by
/// itself. The pieces one behind the other are the text. Rare ones share number 0.
struct WordPieces {
  static let unknown = 0
  /// By number.
  let pieces: [String]
  private let numbers: [String: Int]
  /// Spells pieces that have no number: letters behind letters, as in the rare pieces of the text that was numbered.
  private let spelling: KneserNey

  /// - `text`: what the most frequent pieces are counted in.
  /// - `count`: numbers there are, that of unknown pieces included.
  /// - `least`: how often a piece stands in the text to get one.
  init(_ text: String, count: Int, least: Int = 2) {
    var found: [Substring: Int] = [:]
    for piece in Self.cut(text) { found[piece, default: 0] += 1 }
    // Of equally frequent ones the first by their letters, so that the numbers are one.
    let sorted = found.sorted { $0.value != $1.value ? $0.value > $1.value : $0.key < $1.key }
    let known = sorted.prefix(max(count - 1, 0)).prefix { $0.value >= least }
    pieces = ["<unknown>"] + known.map { String($0.key) }
    numbers = Dictionary(
      uniqueKeysWithValues: known.enumerated().map { (String($1.key), $0 + 1) })
    spelling = KneserNey(
      sorted.dropFirst(known.count).flatMap { Self.letters($0.key) }, order: 5,
      vocabulary: CharacterText.count)
  }

  /// Words with the space before them, and single characters.
  static func cut(_ text: String) -> [Substring] {
    var pieces: [Substring] = []
    var start = text.startIndex
    while start < text.endIndex {
      var end = text.index(after: start)
      let next = end < text.endIndex ? text[end] : " "
      if isLetter(text[start]) || text[start] == " " && isLetter(next) {
        while end < text.endIndex, isLetter(text[end]) { end = text.index(after: end) }
      }
      pieces.append(text[start..<end])
      start = end
    }
    return pieces
  }

  private static func isLetter(_ character: Character) -> Bool {
    character.isLetter || character == "'"
  }

  /// The characters of a piece and the line's end behind it.
  private static func letters(_ piece: some StringProtocol) -> [Int] {
    CharacterText.tokens(String(piece) + "\n").map(Int.init)
  }

  /// The numbers of a text's pieces.
  func tokens(_ text: String) -> [Int] {
    Self.cut(text).map { numbers[String($0)] ?? Self.unknown }
  }

  func text(_ tokens: some Sequence<Int>) -> String {
    tokens.map { pieces.indices.contains($0) ? pieces[$0] : "?" }.joined()
  }

  /// Bits that it takes to spell the pieces of a text that have no number.
  func bitsToSpellUnknown(in text: String) -> Double {
    Self.cut(text).filter { numbers[String($0)] == nil }
      .reduce(0) { $0 + spelling.bits(of: Self.letters($1)) }
  }
}
