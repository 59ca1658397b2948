// N-grams of sequences, counted: what scores of texts are made of.

import ApusGraph

/// Numbers for n-grams: equal ones have one number, those of different orders too.
struct NGramNumbers {
  private struct Step: Hashable {
    var before, next: Int
  }
  private var numbers: [Step: Int] = [:]
  // By scalars: strings are equal where they are only equivalent.
  private var words: [[Unicode.Scalar]: Int] = [:]

  /// Numbers for words.
  mutating func numbers(of list: [Substring.UnicodeScalarView]) -> [Int] {
    list.map { word in
      let number = words[Array(word)] ?? words.count
      words[Array(word)] = number
      return number
    }
  }

  /// How often each run of 1, 2, … `order` elements stands in a sequence, by the run's number.
  mutating func grams(_ sequence: [Int], _ order: Int) -> [[Int: Int]] {
    var runs = [Int](repeating: -1, count: sequence.count)
    return (1...order).map { length in
      var counts: [Int: Int] = [:]
      runs = runs.indices.prefix(max(sequence.count - length + 1, 0)).map { start in
        let step = Step(before: runs[start], next: sequence[start + length - 1])
        let number = numbers[step] ?? numbers.count
        numbers[step] = number
        counts[number, default: 0] += 1
        return number
      }
      return counts
    }
  }
}

/// How many n-grams two texts have, and how many in common.
struct Overlap: Hashable, Sendable {
  var hypothesis = 0
  var reference = 0
  var common = 0

  init() {}

  /// - `hypothesis`, `reference`: how often each n-gram stands there.
  init(_ hypothesis: [Int: Int], _ reference: [Int: Int]) {
    // What is compared with nothing does not count, as in sacrebleu.
    self.hypothesis = reference.isEmpty ? 0 : hypothesis.values.reduce(0, +)
    self.reference = reference.values.reduce(0, +)
    common = hypothesis.reduce(0) { $0 + min($1.value, reference[$1.key] ?? 0) }
  }

  mutating func add(_ other: Overlap) {
    hypothesis += other.hypothesis
    reference += other.reference
    common += other.common
  }

  var precision: Double { hypothesis == 0 ? 0 : Double(common) / Double(hypothesis) }
  var recall: Double { reference == 0 ? 0 : Double(common) / Double(reference) }
}

extension Unicode.Scalar {
  /// What Python's `str.split()` cuts at.
  var isPythonSpace: Bool { properties.isWhitespace || (0x1c...0x1f).contains(value) }
}

/// - Throws: `invalidArgument` for none.
func requireReferences(_ references: [String]) throws {
  guard references.isEmpty else { return }
  throw ApusError(
    .invalidArgument, "a text is compared with no references", expected: "one at least")
}
