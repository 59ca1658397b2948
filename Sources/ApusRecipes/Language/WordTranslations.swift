// What counting alone makes of translation: the word that a word most likely becomes.

import Apus

/// IBM model 1: Brown et al. 1993, "The Mathematics of Statistical Machine Translation".
///
///     p(target | source) = Π_j  1/(I + 1) Σ_i  t(target_j | source_i)        i from the empty word on
///
/// The table `t` is learnt by expectation maximisation from pairs of sentences, of which nobody says which word belongs to
/// which. Each word of a new sentence then becomes the word that it most likely makes, in the order in which it stands; one
/// that was never seen stays.
struct WordTranslations {
  private let best: [Substring: Substring]

  /// - `rounds`: of expectation and maximisation.
  init(_ pairs: [TextPair], rounds: Int = 5) {
    var sources = PieceNumbers()
    var targets = PieceNumbers()
    // The empty word, which makes what no other does.
    let nothing = sources.number(of: "")
    /// Which pair of words each cell of the table is, and the cells of each pair of sentences, target by target.
    var places: [UInt64: Int32] = [:]
    var rows: [Int32] = []
    var sentences: [(width: Int, cells: [Int32])] = []
    var columns: [Int32] = []
    for pair in pairs {
      let source = [nothing] + WordPieces.cut(pair.source).map { sources.number(of: $0) }
      let target = WordPieces.cut(pair.target).map { targets.number(of: $0) }
      var cells: [Int32] = []
      cells.reserveCapacity(source.count * target.count)
      for word in target {
        for other in source {
          let key = UInt64(other) << 32 | UInt64(word)
          if let place = places[key] {
            cells.append(place)
          } else {
            let place = Int32(rows.count)
            places[key] = place
            rows.append(Int32(other))
            columns.append(Int32(word))
            cells.append(place)
          }
        }
      }
      sentences.append((source.count, cells))
    }
    var table = [Float](repeating: 1, count: rows.count)
    for _ in 0..<rounds {
      table = Self.improved(table, sentences, rows, words: sources.words.count)
    }
    var found: [Int32: (score: Float, target: Int32)] = [:]
    for (place, score) in table.enumerated() {
      let before = found[rows[place]]
      // Of equally likely ones the one that came first.
      if score > before?.score ?? -1 { found[rows[place]] = (score, columns[place]) }
    }
    best = Dictionary(
      uniqueKeysWithValues: found.map {
        (sources.words[Int($0.key)], targets.words[Int($0.value.target)])
      })
  }

  /// A round: how often each word made each is expected by the table before, as shares of the source word.
  private static func improved(
    _ table: [Float], _ sentences: [(width: Int, cells: [Int32])], _ rows: [Int32], words: Int
  ) -> [Float] {
    var counts = [Float](repeating: 0, count: table.count)
    for (width, cells) in sentences {
      for start in stride(from: 0, to: cells.count, by: width) {
        var sum: Float = 0
        for place in start..<start + width { sum += table[Int(cells[place])] }
        guard sum > 0 else { continue }
        for place in start..<start + width {
          let cell = Int(cells[place])
          counts[cell] += table[cell] / sum
        }
      }
    }
    var totals = [Float](repeating: 0, count: words)
    for (cell, row) in rows.enumerated() { totals[Int(row)] += counts[cell] }
    for (cell, row) in rows.enumerated() where totals[Int(row)] > 0 {
      counts[cell] /= totals[Int(row)]
    }
    return counts
  }

  /// A sentence word by word.
  func translated(_ text: String) -> String {
    WordPieces.cut(text).map { String(best[$0] ?? $0) }.joined()
  }
}

/// Words by number, in the order in which they come.
private struct PieceNumbers {
  private(set) var words: [Substring] = []
  private var numbers: [Substring: Int] = [:]

  mutating func number(of word: Substring) -> Int {
    if let number = numbers[word] { return number }
    numbers[word] = words.count
    words.append(word)
    return words.count - 1
  }
}
