// How good answers are: whether they are the expected ones, and how many words they share with them.

import Apus

/// Exact match and F1 of answers, as the evaluation of SQuAD has them (Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for
/// Machine Comprehension of Text", evaluate-v1.1.py).
///
///     var scores = AnswerScores()
///     try scores.add("the Eiffel Tower", expected: ["Eiffel Tower.", "Paris"])
///     scores.exactMatch    // 1
///     scores.f1            // 1
///
/// Texts are compared in lower case, without ASCII punctuation, without the words *a*, *an* and *the*, as words with one space
/// between. Of several expected answers the best one counts.
public struct AnswerScores: Sendable, Hashable {
  /// Answers so far.
  public private(set) var count = 0
  private var matches = 0
  private var overlap = 0.0

  public init() {}

  /// Takes in an answer.
  ///
  /// - `expected`: the right answers; one at least.
  /// - Throws: `invalidArgument` where there is none.
  public mutating func add(
    _ answer: String, expected: [String], file: StaticString = #fileID, line: UInt = #line
  ) throws {
    guard !expected.isEmpty else {
      throw ApusError(
        .invalidArgument, "'\(answer.prefix(40))' has no right answer beside it",
        at: sourceLocation(file, line), expected: "one at least")
    }
    count += 1
    matches += expected.contains { Self.exactMatch(answer, $0) } ? 1 : 0
    overlap += expected.map { Self.f1(answer, $0) }.max() ?? 0
  }

  /// The share of answers that are a right one; 0 without answers.
  public var exactMatch: Double { count > 0 ? Double(matches) / Double(count) : 0 }
  /// The mean of F1; 0 without answers.
  public var f1: Double { count > 0 ? overlap / Double(count) : 0 }

  /// Whether two answers have the same words.
  public static func exactMatch(_ answer: String, _ expected: String) -> Bool {
    words(answer) == words(expected)
  }

  /// The harmonic mean of the shares of their words that two answers have in common, a word as often as both have it; 0 where
  /// either has none.
  public static func f1(_ answer: String, _ expected: String) -> Double {
    let (found, right) = (words(answer), words(expected))
    var left: [[Unicode.Scalar]: Int] = [:]
    for word in right { left[word, default: 0] += 1 }
    var common = 0
    for word in found where left[word, default: 0] > 0 {
      left[word]! -= 1
      common += 1
    }
    guard common > 0 else { return 0 }
    let (precision, recall) =
      (Double(common) / Double(found.count), Double(common) / Double(right.count))
    return 2 * precision * recall / (precision + recall)
  }

  /// The words that are compared. They are scalars, as characters are in Python: an accent that follows its letter is
  /// another word than the letter with it.
  static func words(_ text: String) -> [[Unicode.Scalar]] {
    let kept = text.lowercased().unicodeScalars.filter { !punctuation.contains($0) }
    var rest: [Unicode.Scalar] = [], run: [Unicode.Scalar] = []
    // An article is one where no letter or digit touches it; a space takes its place.
    func end() {
      rest += articles.contains(run) ? [" "] : run
      run = []
    }
    for scalar in kept {
      if isWord(scalar) {
        run.append(scalar)
      } else {
        end()
        rest.append(scalar)
      }
    }
    end()
    return rest.split(whereSeparator: \.properties.isWhitespace).map(Array.init)
  }

  /// Python's `string.punctuation`.
  private static let punctuation = Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".unicodeScalars)
  private static let articles = Set(["a", "an", "the"].map { Array($0.unicodeScalars) })

  /// `\w` of Python's regular expressions: letters and numbers, without accents that stand alone.
  private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: scalar.properties.numericType != nil
    }
  }
}
