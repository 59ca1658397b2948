// How much of a text's characters another has, run by run.

import ApusGraph

/// The F-score of character n-grams, 0 to 100: Popović 2015, "chrF: character n-gram F-score for automatic MT
/// evaluation". It is that of all texts together.
///
///     var chrF = ChrF()
///     chrF.add("the cat sat on the mat", reference: "the cat is on the mat")
///     print(chrF.value!)                                     // 64.578
///
/// Precision and recall are means over the orders that both sides have, of n-grams without white space, and recall weighs
/// `beta²` as much. With `wordOrder: 2` it is chrF++ (Popović 2017): words count as characters do, their outer punctuation
/// apart. The defaults are sacrebleu's chrF2.
public struct ChrF: Sendable, Hashable {
  /// The longest run of characters.
  public let characterOrder: Int
  /// The longest run of words; 0 for characters alone.
  public let wordOrder: Int
  /// How much more recall weighs than precision.
  public let beta: Double
  /// Texts that were added.
  public private(set) var total = 0
  private var counts: [Overlap]

  /// - `characterOrder`: 1 to 64; `wordOrder`: 0 to 64. Other numbers are taken as the nearest of these.
  /// - `beta`: above 0; another number is taken as 2.
  public init(characterOrder: Int = 6, wordOrder: Int = 0, beta: Double = 2) {
    self.characterOrder = min(max(characterOrder, 1), 64)
    self.wordOrder = min(max(wordOrder, 0), 64)
    self.beta = beta > 0 && beta.isFinite ? beta : 2
    counts = [Overlap](repeating: Overlap(), count: self.characterOrder + self.wordOrder)
  }

  /// Counts in a text beside the one it should be.
  public mutating func add(_ hypothesis: String, reference: String) {
    add(hypothesis, [reference])
  }

  /// Counts in a text beside several that it may be: the one counts to which it is nearest.
  ///
  /// - Throws: `invalidArgument` without references.
  public mutating func add(_ hypothesis: String, references: [String]) throws {
    try requireReferences(references)
    add(hypothesis, references)
  }

  private mutating func add(_ hypothesis: String, _ references: [String]) {
    var numbers = NGramNumbers()
    let own = grams(hypothesis, &numbers)
    var best: (score: Double, counts: [Overlap])?
    for reference in references {
      let found = zip(own, grams(reference, &numbers)).map { Overlap($0, $1) }
      let score = score(found)
      if score > best?.score ?? -1 { best = (score, found) }
    }
    total += 1
    for (place, overlap) in (best?.counts ?? []).enumerated() { counts[place].add(overlap) }
  }

  /// The score of all that was added; nil before anything was.
  public var value: Double? { total == 0 ? nil : score(counts) }

  private func score(_ counts: [Overlap]) -> Double {
    let both = counts.filter { $0.hypothesis > 0 && $0.reference > 0 }
    guard !both.isEmpty else { return 0 }
    let precision = both.reduce(0) { $0 + $1.precision } / Double(both.count)
    let recall = both.reduce(0) { $0 + $1.recall } / Double(both.count)
    let weight = beta * beta
    guard precision + recall > 0 else { return 0 }
    return 100 * (1 + weight) * precision * recall / (weight * precision + recall)
  }

  /// N-grams of each order, those of characters first.
  private func grams(_ text: String, _ numbers: inout NGramNumbers) -> [[Int: Int]] {
    let words = text.unicodeScalars.split(whereSeparator: \.isPythonSpace)
    let characters = numbers.grams(words.flatMap { $0.map { Int($0.value) } }, characterOrder)
    if wordOrder == 0 { return characters }
    let parts = numbers.numbers(of: words.flatMap { Self.withoutPunctuation($0) })
    return characters + numbers.grams(parts, wordOrder)
  }

  /// A word and the one mark at its end, or before it.
  private static func withoutPunctuation(
    _ word: Substring.UnicodeScalarView
  ) -> [Substring.UnicodeScalarView] {
    guard let first = word.first, let last = word.last, word.dropFirst().first != nil else {
      return [word]
    }
    if isPunctuation(last) { return [word.dropLast(), word.suffix(1)] }
    return isPunctuation(first) ? [word.prefix(1), word.dropFirst()] : [word]
  }

  private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x21...0x2f, 0x3a...0x40, 0x5b...0x60, 0x7b...0x7e: true
    default: false
    }
  }
}
