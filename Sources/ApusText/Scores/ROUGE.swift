// How much of a summary's words its reference has.

import ApusGraph

/// ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 1, as means over texts: Lin 2004, "ROUGE: A Package for Automatic Evaluation of
/// Summaries".
///
///     var rouge = ROUGE()
///     rouge.add("a small text editor", reference: "small editor of texts")
///     print(rouge.rouge1!.f1, rouge.rouge2!.f1, rouge.rougeL!.f1)
///
/// ROUGE-1 and -2 count words and pairs of words that both have, ROUGE-L the longest sequence of words that stands in both
/// in order. Words are runs of a to z and digits, case aside, without stemming: those of the Python package `rouge-score`.
public struct ROUGE: Sendable, Hashable {
  /// Means over texts.
  public struct Score: Sendable, Hashable {
    /// What the text has in common, of its own words.
    public var precision: Double
    /// What it has in common, of the reference's words.
    public var recall: Double
    /// The mean of each text's `2 p r / (p + r)`.
    public var f1: Double

    init() { (precision, recall, f1) = (0, 0, 0) }

    init(_ overlap: Overlap) {
      (precision, recall) = (overlap.precision, overlap.recall)
      f1 = precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0
    }

    static func + (a: Score, b: Score) -> Score {
      var sum = a
      sum.precision += b.precision
      sum.recall += b.recall
      sum.f1 += b.f1
      return sum
    }

    fileprivate func divided(by count: Int) -> Score {
      var mean = self
      mean.precision /= Double(count)
      mean.recall /= Double(count)
      mean.f1 /= Double(count)
      return mean
    }
  }

  /// Texts that were added.
  public private(set) var total = 0
  /// Of words, of pairs, of the longest common sequence.
  private var sums = [Score](repeating: Score(), count: 3)

  public init() {}

  /// Of words; nil before a text was added.
  public var rouge1: Score? { mean(0) }
  /// Of pairs of words; nil before a text was added.
  public var rouge2: Score? { mean(1) }
  /// Of the longest common sequence of words; nil before a text was added.
  public var rougeL: Score? { mean(2) }

  private func mean(_ kind: Int) -> Score? {
    total == 0 ? nil : sums[kind].divided(by: total)
  }

  /// Counts in a text beside the one it should be.
  public mutating func add(_ hypothesis: String, reference: String) {
    add(hypothesis, [reference])
  }

  /// Counts in a text beside several that it may be: of each kind the one counts whose F-score is greatest.
  ///
  /// - Throws: `invalidArgument` without references.
  public mutating func add(_ hypothesis: String, references: [String]) throws {
    try requireReferences(references)
    add(hypothesis, references)
  }

  private mutating func add(_ hypothesis: String, _ references: [String]) {
    var numbers = NGramNumbers()
    let own = numbers.numbers(of: Self.words(hypothesis))
    let grams = numbers.grams(own, 2)
    var best = [Score](repeating: Score(), count: 3)
    for (place, reference) in references.enumerated() {
      let other = numbers.numbers(of: Self.words(reference))
      let otherGrams = numbers.grams(other, 2)
      var sequence = Overlap()
      (sequence.hypothesis, sequence.reference) = (own.count, other.count)
      sequence.common = Self.longestCommonSequence(own, other)
      let found =
        zip(grams, otherGrams).map { Score(Overlap($0, $1)) } + [Score(sequence)]
      for kind in found.indices where place == 0 || found[kind].f1 > best[kind].f1 {
        best[kind] = found[kind]
      }
    }
    total += 1
    sums = zip(sums, best).map { $0 + $1 }
  }

  /// Runs of a to z and digits.
  static func words(_ text: String) -> [Substring.UnicodeScalarView] {
    Substring(text.lowercased()).unicodeScalars.split { scalar in
      switch scalar.value {
      case 0x30...0x39, 0x61...0x7a: false
      default: true
      }
    }
  }

  /// The length of the longest sequence that stands in both, not necessarily without gaps.
  private static func longestCommonSequence(_ a: [Int], _ b: [Int]) -> Int {
    var row = [Int](repeating: 0, count: b.count + 1)
    for x in a {
      var diagonal = 0
      for (place, y) in b.enumerated() {
        let above = row[place + 1]
        row[place + 1] = x == y ? diagonal + 1 : max(above, row[place])
        diagonal = above
      }
    }
    return row[b.count]
  }
}
