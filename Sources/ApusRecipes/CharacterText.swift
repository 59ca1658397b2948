// Text as characters: tokens, windows to learn from, and what counting letters alone would tell.

import Apus
import Foundation

/// Ninety-six characters: the line's end and what ASCII prints.
enum CharacterText {
  static let count = 96
  static let lineEnd = 0

  /// The tokens of a text. Letters and marks beyond ASCII become those that look like them; what has none is left out.
  static func tokens(_ text: String) -> [UInt8] {
    var tokens: [UInt8] = []
    tokens.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n": tokens.append(0)
      case _ where (32..<127).contains(scalar.value): tokens.append(UInt8(scalar.value - 31))
      default: tokens += (lookalikes[scalar] ?? "").utf8.map { $0 - 31 }
      }
    }
    return tokens
  }

  private static let lookalikes: [Unicode.Scalar: String] = [
    "’": "'", "‘": "'", "“": "\"", "”": "\"", "—": "-", "–": "-", "æ": "ae", "Æ": "Ae",
    "\u{00a0}": " ",
  ]

  /// The text of tokens; a token that is none of the characters is a question mark.
  static func text(_ tokens: some Sequence<Int>) -> String {
    String(
      decoding: tokens.map { $0 == 0 ? 10 : (1..<96).contains($0) ? UInt8($0 + 31) : 63 },
      as: UTF8.self)
  }

  /// Bits a character that a text takes where each is told by how often it followed those before it in another text.
  ///
  /// Each count is one more than it was, so that nothing is impossible (Laplace).
  ///
  /// - `order`: how many characters before count; 0 for the letters' frequencies.
  static func bits(of test: [UInt8], after training: [UInt8], order: Int) -> Double {
    var counts: [Int: [Double]] = [:]
    func context(_ text: [UInt8], _ place: Int) -> Int {
      (0..<order).reduce(0) { $0 * count + Int(text[place - 1 - $1]) }
    }
    for place in min(order, training.count)..<training.count {
      counts[context(training, place), default: [Double](repeating: 1, count: count)][
        Int(training[place])] += 1
    }
    var bits = 0.0
    let totals = counts.mapValues { $0.reduce(0, +) }
    for place in min(order, test.count)..<test.count {
      let context = context(test, place)
      let total = totals[context] ?? Double(count)
      bits -= log2((counts[context]?[Int(test[place])] ?? 1) / total)
    }
    return bits / Double(max(test.count - order, 1))
  }

  /// Bits a character by the last four characters, smoothed (``KneserNey``).
  static func smoothed(_ test: [UInt8], after training: [UInt8]) -> RecipeOutcome.Figure {
    let model = KneserNey(training.map(Int.init), order: 5, vocabulary: count)
    return RecipeOutcome.Figure(
      "bits by Kneser-Ney 5-grams", model.bits(of: test.map(Int.init)) / Double(max(test.count, 1))
    )
  }
}

/// Pieces of a text beside the same pieces one token later: `tokens` and `next`, `i32[length]` an example.
///
/// Pieces follow one another; the rest of the text is left out.
struct TokenWindows<Token: BinaryInteger & Sendable>: Dataset {
  let tokens: [Token]
  let length: Int

  var count: Int { max(tokens.count - 1, 0) / length }
  var fields: [ExampleField] {
    ["tokens", "next"].map { ExampleField($0, TensorType(.i32, [length])) }
  }

  func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) {
    for (offset, target) in targets.enumerated() {
      let values = target.bindMemory(to: Int32.self)
      var place = 0
      for example in examples {
        let start = example * length + offset
        for token in tokens[start..<start + length] {
          values[place] = Int32(token)
          place += 1
        }
      }
    }
  }
}
