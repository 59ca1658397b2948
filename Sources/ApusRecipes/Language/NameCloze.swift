// Questions without people who ask them: a name is hidden in a sentence, and stands in the sentences before.

import Apus
import Foundation

/// A passage, a sentence that follows it with a name hidden, and the name: Hermann et al. 2015, "Teaching Machines to Read
/// and Comprehend"; Hill et al. 2016, "The Goldilocks Principle".
struct NameCloze: Equatable {
  static let mask = "[MASK]"
  var passage: String
  /// With ``mask`` wherever the name stood.
  var question: String
  var answer: String
  /// The names of the passage where they stand in it, in Unicode scalars, in order.
  var names: [Name]

  struct Name: Equatable {
    var text: String
    var place: Range<Int>
  }

  /// Where the answer stands in the passage.
  var places: [Range<Int>] { names.filter { $0.text == answer }.map(\.place) }

  /// The name that stands most often in the passage, of several the last.
  var mostFrequent: String {
    var counts: [String: Int] = [:]
    for name in names { counts[name.text, default: 0] += 1 }
    let most = counts.values.max() ?? 0
    return names.last { counts[$0.text] == most }?.text ?? ""
  }

  /// How likely a name of the passage is the answer that is taken blindly: one of its different names.
  var chance: Double { 1 / Double(max(Set(names.map(\.text)).count, 1)) }

  /// The questions of a text: for each verse those names that stand in the verses before it, which have three different
  /// names at least.
  ///
  /// - `verses`: that follow one another.
  /// - `names`: what counts as a name.
  /// - `before`: verses of a passage, 1 or more.
  static func questions(_ verses: ArraySlice<String>, names: Set<String>, before: Int)
    -> [NameCloze]
  {
    guard verses.count > before else { return [] }
    return (verses.startIndex + before..<verses.endIndex).flatMap { place -> [NameCloze] in
      let passage = verses[place - before..<place].joined(separator: " ")
      let known = Self.words(passage).filter { names.contains($0.text) }
      let choice = Set(known.map(\.text))
      guard choice.count >= 3 else { return [] }
      let words = Self.words(verses[place])
      var asked: [String] = []
      for word in words where choice.contains(word.text) && !asked.contains(word.text) {
        asked.append(word.text)
      }
      return asked.map { answer in
        var scalars = Array(verses[place].unicodeScalars)
        for word in words.reversed() where word.text == answer {
          scalars.replaceSubrange(word.place, with: mask.unicodeScalars)
        }
        var question = String.UnicodeScalarView()
        question.append(contentsOf: scalars)
        return NameCloze(
          passage: passage, question: String(question), answer: answer, names: known)
      }
    }
  }

  /// The names of a text: words with a capital that stand behind a small letter or a comma twice at least, and hardly ever
  /// without the capital. Titles of God are none, which would be the answer too often.
  static func names(of verses: some Sequence<String>) -> Set<String> {
    var capital: [String: Int] = [:], small: [String: Int] = [:]
    for verse in verses {
      let scalars = Array(verse.unicodeScalars)
      for word in words(scalars) {
        let text = word.text
        guard let first = text.unicodeScalars.first, first.properties.isUppercase else {
          small[text.lowercased(), default: 0] += 1
          continue
        }
        let start = word.place.lowerBound
        guard start >= 2, scalars[start - 1] == " ",
          scalars[start - 2].properties.isLowercase || [",", ";"].contains(scalars[start - 2]),
          text.unicodeScalars.dropFirst().allSatisfy({ $0.properties.isLowercase || $0 == "-" })
        else { continue }
        capital[text, default: 0] += 1
      }
    }
    return Set(
      capital.filter { text, count in
        count >= 2 && text.count > 2 && 10 * small[text.lowercased(), default: 0] <= count
          && !["God", "Lord"].contains(text)
      }.keys)
  }

  private static func words(_ text: String) -> [Name] { words(Array(text.unicodeScalars)) }

  /// Runs of letters, with hyphens between them.
  private static func words(_ scalars: [Unicode.Scalar]) -> [Name] {
    func isLetter(_ place: Int) -> Bool {
      scalars.indices.contains(place) && scalars[place].properties.isAlphabetic
    }
    var words: [Name] = []
    var place = 0
    while place < scalars.count {
      guard isLetter(place) else {
        place += 1
        continue
      }
      var end = place + 1
      while isLetter(end) || end < scalars.count && scalars[end] == "-" && isLetter(end + 1) {
        end += 1
      }
      var text = String.UnicodeScalarView()
      text.append(contentsOf: scalars[place..<end])
      words.append(Name(text: String(text), place: place..<end))
      place = end
    }
    return words
  }
}
