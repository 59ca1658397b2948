// What counting alone makes of letters: the sounds that a letter had most often between the same neighbours.

import Apus
import Foundation

/// A word as numbers: letters from 1 on, phones from 0 on.
struct NumberedWord: Equatable {
  var letters: [Int]
  var phones: [Int]
}

/// Letters to sounds by a table.
///
/// Letters and phones of the training words are aligned first: each letter makes none, one or two phones, in order, and
/// of all ways to share them out the likeliest is taken, by how often each letter made what (Viterbi training; Black, Lenzo
/// and Pagel 1998, "Issues in Building General Letter to Sound Rules"). A letter of a new word is then said as that
/// letter was most often between the same three letters on either side; where the training words have none such, between
/// the same two, and so on.
struct LetterTable {
  /// Letters are numbered below this, so that seven of them and a chunk are one number of 64 bits.
  static let mostLetters = 64
  static let mostPhones = 62
  private static let letterBits: UInt64 = 6
  private static let chunkBits: UInt64 = 12
  private static let widest = 3
  /// By width: letters around a place → the chunk that was most frequent there.
  private let best: [[UInt64: Int]]

  /// - `rounds`: how often words are aligned by what the round before has counted.
  init(_ words: [NumberedWord], rounds: Int = 4) {
    var alignment = Alignment()
    for _ in 0..<rounds { alignment = alignment.next(words) }
    var found = [[UInt64]](repeating: [], count: Self.widest + 1)
    for word in words {
      guard let shares = alignment.shares(word) else { continue }
      var start = 0
      for (place, share) in shares.enumerated() {
        let chunk = UInt64(Chunk.number(word.phones[start..<start + share]))
        start += share
        for width in 0...Self.widest {
          found[width].append(Self.around(place, word.letters, width) << Self.chunkBits | chunk)
        }
      }
    }
    best = found.map(Self.mostFrequent)
  }

  /// The phones of a word; letters that no training word has are silent.
  func phones(of letters: [Int]) -> [Int] {
    letters.indices.flatMap { place -> [Int] in
      for width in (0...Self.widest).reversed() {
        if let chunk = best[width][Self.around(place, letters, width)] {
          return Chunk.phones(chunk)
        }
      }
      return []
    }
  }

  /// The letters of a window as one number; 0 stands where the word has ended.
  private static func around(_ place: Int, _ letters: [Int], _ width: Int) -> UInt64 {
    (place - width...place + width).reduce(0) {
      $0 << letterBits | UInt64(letters.indices.contains($1) ? letters[$1] : 0)
    }
  }

  /// Of pairs of a window and a chunk the most frequent chunk of each window, the first of equally frequent ones.
  private static func mostFrequent(_ pairs: [UInt64]) -> [UInt64: Int] {
    let sorted = pairs.sorted()
    var best: [UInt64: (chunk: Int, count: Int)] = [:]
    var start = 0
    while start < sorted.count {
      var end = start
      while end < sorted.count, sorted[end] == sorted[start] { end += 1 }
      let window = sorted[start] >> chunkBits
      if end - start > best[window]?.count ?? 0 {
        best[window] = (Int(sorted[start] & (1 << chunkBits - 1)), end - start)
      }
      start = end
    }
    return best.mapValues(\.chunk)
  }

  /// None, one or two phones as one number.
  private enum Chunk {
    static let count = 1 + mostPhones + mostPhones * mostPhones

    static func number(_ phones: ArraySlice<Int>) -> Int {
      switch phones.count {
      case 0: 0
      case 1: 1 + phones.first!
      default: 1 + mostPhones + phones.first! * mostPhones + phones.last!
      }
    }

    static func phones(_ number: Int) -> [Int] {
      if number == 0 { return [] }
      if number <= mostPhones { return [number - 1] }
      return [(number - 1 - mostPhones) / mostPhones, (number - 1 - mostPhones) % mostPhones]
    }
  }

  /// How likely each letter makes which phones.
  private struct Alignment {
    /// Logarithms, by letter and chunk; nil before anything has been counted.
    private var scores: [Double]?

    private func score(_ letter: Int, _ chunk: ArraySlice<Int>) -> Double {
      // At first all that is known is that most letters make one phone.
      guard let scores else { return chunk.count == 1 ? 0 : chunk.isEmpty ? -2 : -4 }
      return scores[letter * Chunk.count + Chunk.number(chunk)]
    }

    /// How many phones each letter makes; nil where there are more than two a letter.
    func shares(_ word: NumberedWord) -> [Int]? {
      let (letters, phones) = (word.letters, word.phones)
      guard !letters.isEmpty, phones.count <= 2 * letters.count else { return nil }
      let width = phones.count + 1
      var best = [Double](repeating: -.infinity, count: (letters.count + 1) * width)
      var from = [Int](repeating: 0, count: best.count)
      best[0] = 0
      for place in 1...letters.count {
        for end in 0..<width {
          for share in 0...min(2, end) {
            let before = best[(place - 1) * width + end - share]
            guard before > -.infinity else { continue }
            let value = before + score(letters[place - 1], phones[end - share..<end])
            if value > best[place * width + end] {
              best[place * width + end] = value
              from[place * width + end] = share
            }
          }
        }
      }
      var end = phones.count
      var shares: [Int] = []
      for place in (1...letters.count).reversed() {
        shares.append(from[place * width + end])
        end -= shares.last!
      }
      return shares.reversed()
    }

    func next(_ words: [NumberedWord]) -> Alignment {
      // A chunk that a letter has never made is not impossible.
      var counts = [Double](repeating: 1e-3, count: mostLetters * Chunk.count)
      for word in words {
        guard let shares = shares(word) else { continue }
        var start = 0
        for (letter, share) in zip(word.letters, shares) {
          counts[letter * Chunk.count + Chunk.number(word.phones[start..<start + share])] += 1
          start += share
        }
      }
      for letter in 0..<mostLetters {
        let row = letter * Chunk.count..<(letter + 1) * Chunk.count
        let total = counts[row].reduce(0, +)
        for place in row { counts[place] = log(counts[place] / total) }
      }
      return Alignment(scores: counts)
    }

    init(scores: [Double]? = nil) { self.scores = scores }
  }
}
