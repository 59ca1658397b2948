// How often words stand near each other, and what that alone tells of their likeness.

import Apus
import Foundation

/// Words as numbers: the most frequent first.
struct WordNumbers {
  let words: [String]
  /// How often each stands in the text.
  let counts: [Int]
  private let numbers: [String: Int]

  /// - `most`: words that get a number.
  /// - `least`: how often a word stands in the text to get one.
  init(_ lines: [[String]], most: Int, least: Int) {
    var found: [String: Int] = [:]
    for word in lines.joined() { found[word, default: 0] += 1 }
    // Of equally frequent ones the first by their letters, so that the numbers are one.
    let sorted = found.filter { $0.value >= least }
      .sorted { $0.value != $1.value ? $0.value > $1.value : $0.key < $1.key }.prefix(most)
    words = sorted.map(\.key)
    counts = sorted.map(\.value)
    numbers = Dictionary(uniqueKeysWithValues: words.enumerated().map { ($1, $0) })
  }

  subscript(word: String) -> Int? { numbers[word] }

  /// Lines of numbers; words that have none are left out, as in word2vec.
  func numbered(_ lines: [[String]]) -> [[Int]] {
    lines.map { $0.compactMap { numbers[$0] } }.filter { $0.count > 1 }
  }
}

/// How often each word has which others near it: rows of columns and counts, those that are not 0.
struct Cooccurrence {
  let rows: [[(column: Int, count: Double)]]

  /// - `lines`: numbers below `words` each.
  /// - `window`: how far another word may stand on either side.
  /// - `isNearer`: whether a neighbour counts one through its distance (Pennington et al. 2014) or one.
  init(_ lines: [[Int]], words: Int, window: Int, isNearer: Bool) {
    var pairs: [UInt64] = []
    for line in lines {
      for place in line.indices {
        for other in max(place - window, 0)..<place {
          let distance = UInt64(isNearer ? place - other : 1)
          let (a, b) = (UInt64(line[place]), UInt64(line[other]))
          pairs.append(a << 40 | b << 16 | distance)
          pairs.append(b << 40 | a << 16 | distance)
        }
      }
    }
    // Sorted, so that the sums are those of one order.
    pairs.sort()
    var rows = [[(column: Int, count: Double)]](repeating: [], count: words)
    for pair in pairs {
      let (row, column) = (Int(pair >> 40), Int(pair >> 16 & 0xff_ffff))
      let weight = 1 / Double(pair & 0xffff)
      if let last = rows[row].last, last.column == column {
        rows[row][rows[row].count - 1].count += weight
      } else {
        rows[row].append((column, weight))
      }
    }
    self.rows = rows
  }

  /// Positive pointwise mutual information in the place of counts, `max(0, log p(a, b) / (p(a) p(b)))`: Church and Hanks
  /// 1990; Bullinaria and Levy 2007.
  var positiveInformation: Cooccurrence {
    let totals = rows.map { $0.reduce(0) { $0 + $1.count } }
    let all = totals.reduce(0, +)
    return Cooccurrence(
      rows: rows.enumerated().map { row, cells in
        cells.compactMap { cell in
          let information = log(cell.count * all / (totals[row] * totals[cell.column]))
          return information > 0 ? (cell.column, information) : nil
        }
      })
  }

  private init(rows: [[(column: Int, count: Double)]]) { self.rows = rows }

  /// The cosine of two rows; 0 where one is empty.
  func cosine(_ a: Int, _ b: Int) -> Double {
    var (i, j, sum) = (0, 0, 0.0)
    let (first, second) = (rows[a], rows[b])
    while i < first.count, j < second.count {
      if first[i].column == second[j].column {
        sum += first[i].count * second[j].count
        i += 1
        j += 1
      } else if first[i].column < second[j].column {
        i += 1
      } else {
        j += 1
      }
    }
    func square(_ row: [(column: Int, count: Double)]) -> Double {
      row.reduce(0) { $0 + $1.count * $1.count }
    }
    let norms = (square(first) * square(second)).squareRoot()
    return norms > 0 ? sum / norms : 0
  }
}

/// Rank correlation of two lists (Spearman 1904): the correlation of their ranks, equal numbers sharing theirs. 0 where one
/// of them is constant.
func rankCorrelation(_ a: [Double], _ b: [Double]) -> Double {
  func ranks(_ values: [Double]) -> [Double] {
    let order = values.indices.sorted { values[$0] < values[$1] }
    var ranks = [Double](repeating: 0, count: values.count)
    var start = 0
    while start < order.count {
      var end = start
      while end < order.count, values[order[end]] == values[order[start]] { end += 1 }
      for place in start..<end { ranks[order[place]] = Double(start + end - 1) / 2 }
      start = end
    }
    return ranks
  }
  let (x, y) = (ranks(a), ranks(b))
  let mean = Double(a.count - 1) / 2
  var (xy, xx, yy) = (0.0, 0.0, 0.0)
  for (p, q) in zip(x, y) {
    xy += (p - mean) * (q - mean)
    xx += (p - mean) * (p - mean)
    yy += (q - mean) * (q - mean)
  }
  return xx > 0 && yy > 0 ? xy / (xx * yy).squareRoot() : 0
}
