// Sentences whose words have tags, in the format CoNLL-U (https://universaldependencies.org/format.html).
//
//     # text = …
//     1  Burda  bur  PRON  …        ten columns with tabs between: number, word, lemma, tag, …
//                                    an empty line behind each sentence

import Apus

/// A sentence as its words and the tag of each.
struct TaggedSentence: Equatable {
  var words: [String] = []
  var tags: [String] = []
}

enum TaggedText {
  /// The sentences of a file.
  ///
  /// - Throws: `io` where it cannot be read; `invalidFile` with the line where it has other columns, a number that is
  ///   none, or no word or tag; `invalidFile` for a file without sentences.
  static func read(_ path: String) throws -> [TaggedSentence] {
    try parse(TextFile.contents(path, expected: "a CoNLL-U file"), path: path)
  }

  /// As ``read(_:)``, of text; `path` names it in errors.
  static func parse(_ text: String, path: String) throws -> [TaggedSentence] {
    var sentences: [TaggedSentence] = []
    var sentence = TaggedSentence()
    func end() {
      if !sentence.words.isEmpty { sentences.append(sentence) }
      sentence = TaggedSentence()
    }
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (place, line) in lines.enumerated() {
      if line.allSatisfy(\.isWhitespace) {
        end()
        continue
      }
      guard line.first != "#" else { continue }
      func mistake(_ what: String, _ expected: String) -> ApusError {
        ApusError(.invalidFile, what, at: "\(path), line \(place + 1)", expected: expected)
      }
      let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard columns.count == 10 else {
        throw mistake("the line has \(columns.count) columns", "ten, with tabs between")
      }
      // A word of several syntactic ones (3-4), or one that is not there (8.1): the others count.
      if columns[0].contains("-") || columns[0].contains(".") { continue }
      guard Int(columns[0]) == sentence.words.count + 1 else {
        throw mistake("word number '\(columns[0].prefix(20))'", "\(sentence.words.count + 1)")
      }
      guard !columns[1].isEmpty, !columns[3].isEmpty else {
        throw mistake("the \(columns[1].isEmpty ? "word" : "tag") is empty", "a word and its tag")
      }
      sentence.words.append(String(columns[1]))
      sentence.tags.append(String(columns[3]))
    }
    end()
    guard !sentences.isEmpty else {
      throw ApusError(.invalidFile, "the file has no sentences", at: path, expected: "CoNLL-U")
    }
    return sentences
  }
}

/// What a network is told of a word: numbers of the word itself, as it is written and in small letters, of its first one
/// to four letters, its last one to five and its form.
///
/// Numbers count from 1 in the order in which the texts have them; 0 is what stands there once only, or never.
struct WordFeatures {
  static let perWord = 12
  private let numbers: [String: Int32]
  /// Numbers there are, 0 included.
  let count: Int

  init(_ sentences: [TaggedSentence]) {
    var order: [String] = []
    var found: [String: Int] = [:]
    for word in sentences.flatMap(\.words) {
      for feature in Self.features(word) {
        if found[feature] == nil { order.append(feature) }
        found[feature, default: 0] += 1
      }
    }
    var numbers: [String: Int32] = [:]
    for feature in order where found[feature]! > 1 { numbers[feature] = Int32(numbers.count + 1) }
    self.numbers = numbers
    count = numbers.count + 1
  }

  subscript(word: String) -> [Int32] { Self.features(word).map { numbers[$0] ?? 0 } }

  private static func features(_ word: String) -> [String] {
    let letters = word.lowercased()
    let form: Character =
      switch word.first {
      case let first? where first.isUppercase: "A"
      case let first? where first.isLetter: "a"
      case let first? where first.isNumber: "0"
      default: "."
      }
    return ["word \(word)", "small \(letters)", "form \(form)"]
      + (1...4).map { "begins \($0) \(letters.prefix($0))" }
      + (1...5).map { "\($0) \(letters.suffix($0))" }
  }
}
