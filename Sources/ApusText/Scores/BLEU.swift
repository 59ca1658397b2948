// How much of a translation's words its references have, run by run.

import ApusGraph
import Foundation

/// BLEU of all texts together, 0 to 100: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine
/// Translation".
///
///     var bleu = BLEU()
///     bleu.add("the cat sat on the mat", reference: "the cat is on the mat")
///     print(bleu.value!)
///
/// The geometric mean of the precisions of runs of 1 to 4 words, times `exp(1 - r / h)` where the texts have `h` words and
/// their references `r` > `h`. Words are those of mteval-v13a; an order without any match counts as 1/2, 1/4, … of one
/// match (Chen & Cherry 2014, method 3). These are sacrebleu's defaults, case counts.
public struct BLEU: Sendable, Hashable {
  /// The longest run of words.
  public static let order = 4
  /// Texts that were added.
  public private(set) var total = 0
  private var words = 0
  private var referenceWords = 0
  private var matches = [Int](repeating: 0, count: order)
  private var runs = [Int](repeating: 0, count: order)

  public init() {}

  /// Counts in a text beside the one it should be.
  public mutating func add(_ hypothesis: String, reference: String) {
    add(hypothesis, [reference])
  }

  /// Counts in a text beside several that it may be: a run counts as often as one of them has it, and the length
  /// nearest to the text's is that of the references.
  ///
  /// - Throws: `invalidArgument` without references.
  public mutating func add(_ hypothesis: String, references: [String]) throws {
    try requireReferences(references)
    add(hypothesis, references)
  }

  private mutating func add(_ hypothesis: String, _ references: [String]) {
    var numbers = NGramNumbers()
    let own = Self.words(hypothesis)
    let others = references.map(Self.words)
    func grams(_ words: [Substring.UnicodeScalarView]) -> [[Int: Int]] {
      let list = numbers.numbers(of: words)
      return numbers.grams(list, Self.order)
    }
    let found = grams(own)
    let allowed = others.map(grams)
    for order in 0..<Self.order {
      runs[order] += found[order].values.reduce(0, +)
      matches[order] += found[order].reduce(0) { sum, gram in
        sum + min(gram.value, allowed.map { $0[order][gram.key] ?? 0 }.max() ?? 0)
      }
    }
    total += 1
    words += own.count
    // Of equally near lengths the shorter.
    referenceWords +=
      others.map(\.count).min {
        (abs($0 - own.count), $0) < (abs($1 - own.count), $1)
      } ?? 0
  }

  /// The score of all that was added; nil before anything was. It is 0 where no word matches, and where no text has
  /// four words.
  public var value: Double? {
    guard total > 0 else { return nil }
    guard matches.contains(where: { $0 > 0 }), !runs.contains(0) else { return 0 }
    var unmatched = 1.0
    var logarithms = 0.0
    for (matches, runs) in zip(matches, runs) {
      if matches == 0 { unmatched *= 2 }
      logarithms += log((matches == 0 ? 1 / unmatched : Double(matches)) / Double(runs))
    }
    let brevity = words < referenceWords ? 1 - Double(referenceWords) / Double(words) : 0
    return 100 * exp(logarithms / Double(Self.order) + brevity)
  }

  /// The words of mteval-v13a.
  static func words(_ text: String) -> [Substring.UnicodeScalarView] {
    var line = text.unicodeScalars.reversed().drop(while: \.isPythonSpace).reversed().map { $0 }
    for (old, new) in [
      ("<skipped>", ""), ("-\n", ""), ("\n", " "), ("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"),
      ("&gt;", ">"),
    ] { line = replacing(Array(old.unicodeScalars), Array(new.unicodeScalars), in: line) }
    let space: Unicode.Scalar = " "
    line = ([space] + line + [space]).flatMap { isMark($0) ? [space, $0, space] : [$0] }
    line = pairs(in: line) { !isDigit($0) && isStop($1) ? [$0, space, $1, space] : nil }
    line = pairs(in: line) { isStop($0) && !isDigit($1) ? [space, $0, space, $1] : nil }
    line = pairs(in: line) { isDigit($0) && $1 == "-" ? [$0, space, $1, space] : nil }
    var joined = String.UnicodeScalarView()
    joined.append(contentsOf: line)
    return Substring(String(joined)).unicodeScalars.split(whereSeparator: \.isPythonSpace)
  }

  /// Replaces pairs that do not overlap, from left to right.
  private static func pairs(
    in line: [Unicode.Scalar],
    _ replacement: (Unicode.Scalar, Unicode.Scalar) -> [Unicode.Scalar]?
  ) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    var place = 0
    while place < line.count {
      if place + 1 < line.count, let pair = replacement(line[place], line[place + 1]) {
        result += pair
        place += 2
      } else {
        result.append(line[place])
        place += 1
      }
    }
    return result
  }

  private static func replacing(
    _ old: [Unicode.Scalar], _ new: [Unicode.Scalar], in line: [Unicode.Scalar]
  ) -> [Unicode.Scalar] {
    guard line.contains(old[0]) else { return line }
    var result: [Unicode.Scalar] = []
    var rest = line[...]
    while let first = rest.first {
      if rest.starts(with: old) {
        result += new
        rest = rest.dropFirst(old.count)
      } else {
        result.append(first)
        rest = rest.dropFirst()
      }
    }
    return result
  }

  private static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
    (0x30...0x39).contains(scalar.value)
  }

  private static func isStop(_ scalar: Unicode.Scalar) -> Bool { scalar == "." || scalar == "," }

  /// Marks that are words by themselves wherever they stand: those of ASCII but `'`, `,`, `-` and `.`.
  private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x20...0x26, 0x28...0x2b, 0x2f, 0x3a...0x40, 0x5b...0x60, 0x7b...0x7e: true
    default: false
    }
  }
}
