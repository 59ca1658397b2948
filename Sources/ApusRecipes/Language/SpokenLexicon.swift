// A lexicon as a network reads it: letters and phones as numbers, and words that are held out with all their forms.

import Apus

/// The words of a lexicon in two parts, and the numbers of letters and phones.
struct SpokenLexicon {
  let training: [SpokenWord]
  let test: [SpokenWord]
  /// By number; 0 is the padding.
  private let letters: [UInt8: Int]
  /// By number; 0 is the boundary.
  private let phones: [String]
  private let numbers: [String: Int]

  /// - Throws: `invalidFile` where there are more letters or phones than the network has numbers for, words that are too
  ///   long, or too few to hold any out.
  init(_ words: [SpokenWord], path: String) throws {
    func tooMuch(_ what: String, _ most: String) -> ApusError {
      ApusError(.invalidFile, what, at: path, expected: "at most \(most)")
    }
    let letters = Set(words.flatMap(\.letters)).sorted()
    let phones = Set(words.flatMap { $0.sounds.flatMap { $0 } }).sorted()
    guard letters.count < LettersToSoundsRecipe.letters else {
      throw tooMuch("\(letters.count) letters", "\(LettersToSoundsRecipe.letters - 1)")
    }
    guard phones.count < LettersToSoundsRecipe.phones else {
      throw tooMuch("\(phones.count) phones", "\(LettersToSoundsRecipe.phones - 1)")
    }
    let longest = LettersToSoundsRecipe.lengths.last!
    if let word = words.first(where: {
      $0.letters.count > longest || $0.sounds.contains { $0.count >= longest }
    }) {
      throw tooMuch("'\(word.text.prefix(40))' is too long", "\(longest - 1) letters and phones")
    }
    self.letters = Dictionary(uniqueKeysWithValues: letters.enumerated().map { ($1, $0 + 1) })
    self.phones = [""] + phones
    numbers = Dictionary(uniqueKeysWithValues: phones.enumerated().map { ($1, $0 + 1) })
    training = words.filter { !Self.isHeldOut($0.letters) }
    test = words.filter { Self.isHeldOut($0.letters) }
    guard !training.isEmpty, !test.isEmpty else {
      throw ApusError(
        .invalidFile, "\(words.count) words, of which \(test.count) would be held out", at: path,
        expected: "words with more beginnings")
    }
  }

  /// Whether a word is one to be judged by: words that begin with the same four letters stay together, since most are
  /// forms of one word or derived from it. A tenth of all beginnings, whatever else is in the lexicon (FNV-1a).
  static func isHeldOut(_ letters: [UInt8]) -> Bool {
    letters.prefix(4).reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
      ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3
    } >> 32 % 10 == 0
  }

  /// Letters, and the phones of the first way to say them.
  func numbered(_ word: SpokenWord) -> NumberedWord {
    NumberedWord(
      letters: word.letters.map { letters[$0]! }, phones: word.sounds[0].map { numbers[$0]! })
  }

  /// The names of phones.
  func names(_ numbers: [Int]) -> [String] {
    numbers.map { phones.indices.contains($0) ? phones[$0] : "?" }
  }

  struct Score: Equatable {
    /// The fraction of words of which all phones are right, as one of the ways to say them.
    var words: Double
    /// The same without the marks of stress, and with open e and o for closed ones.
    var wordsWithoutStress: Double
    /// Edits that make the phones right, a phone: of the way to say the word that is nearest.
    var phoneErrors: Double
  }

  /// How right words are said.
  func score(_ said: [[Int]], of words: [SpokenWord]) -> Score {
    var (right, rightAside, edits, phones) = (0, 0, 0, 0)
    for (said, word) in zip(said, words) {
      let own = names(said)
      right += word.sounds.contains(own) ? 1 : 0
      let aside = own.map(Self.withoutStress)
      rightAside += word.sounds.contains { $0.map(Self.withoutStress) == aside } ? 1 : 0
      let nearest = word.sounds.map { (editDistance(own, $0), $0.count) }
        .min { $0.0 < $1.0 }!
      edits += nearest.0
      phones += nearest.1
    }
    let count = Double(max(words.count, 1))
    return Score(
      words: Double(right) / count, wordsWithoutStress: Double(rightAside) / count,
      phoneErrors: Double(edits) / Double(max(phones, 1)))
  }

  /// `E1` is an open e with stress.
  private static func withoutStress(_ phone: String) -> String {
    let bare = phone.hasSuffix("1") ? String(phone.dropLast()) : phone
    return bare == "E" || bare == "O" ? bare.lowercased() : bare
  }
}
