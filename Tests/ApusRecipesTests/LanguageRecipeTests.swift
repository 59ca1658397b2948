// Recipes of language on small invented texts: what they read, what they are compared with, that they learn.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

/// Runs of recipes on data of their own.
struct RecipeFolder {
  let folder = FileManager.default.temporaryDirectory.appending(path: "apus-lang-\(UUID())")
  var path: String { folder.path }

  init() throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  func remove() { try? FileManager.default.removeItem(at: folder) }

  func write(_ text: String, _ name: String) throws {
    try Data(text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) })
      .write(to: folder.appending(path: name))
  }

  /// The figures of a run, and what it told.
  func run(
    _ name: String, _ values: [String: String], isQuick: Bool = false
  ) throws -> (figures: [String: Double], told: String) {
    let recipe = try recipes.named(name)
    var options = recipe.defaults
    try options.set("data", to: path)
    for (option, value) in values { try options.set(option, to: value) }
    var told = ""
    let outcome = try RecipeRun(
      recipe, options, output: folder.appending(path: "w.safetensors").path, isQuick: isQuick,
      tell: { told += $0 + "\n" }
    ).start()
    let figures = Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) })
    return (figures, told)
  }
}

@Suite struct LanguageRecipeTests {
  private func withFolder(_ body: (RecipeFolder) throws -> Void) throws {
    let folder = try RecipeFolder()
    defer { folder.remove() }
    try body(folder)
  }

  // MARK: Letters to sounds

  @Test func aLexiconIsItsWords_eachWithTheWaysToSayIt() throws {
    let text = """
      MNCL
      ("\u{e0}" S-FS (((a1) 1)))
      ("pesca" S-FS (((p E1) 1) ((s k a) 0)))
      ("pesca" V-S3_IP (((p e1) 1) ((s k a) 0)))
      ("pesca" A-FS (((p E1) 1) ((s k a) 0)))

      """
    let bytes = text.unicodeScalars.map { UInt8($0.value) }
    let words = try PronouncingLexicon.parse(bytes, path: "f")
    #expect(words.map(\.text) == ["à", "pesca"])
    #expect(
      words[1].sounds == [["p", "E1", "s", "k", "a"], ["p", "e1", "s", "k", "a"]])
  }

  @Test(arguments: [
    "(\"a\" S (((a1) 1))", "(\"a\" S ())", "(\"\" S (((a) 0)))", "(a S (((a) 0)))", "x",
    "(\"a\" (((a) 0)))", "(\"a", "(\"a\" S (((a) )))", "(",
  ])
  func damagedLexicons_areToldWithTheirLine(line: String) {
    let text = "MNCL\n(\"o\" S (((o1) 1)))\n" + line + "\n"
    let error = #expect(throws: ApusError.self) {
      try PronouncingLexicon.parse(Array(text.utf8), path: "f")
    }
    #expect(error?.kind == .invalidFile && error?.location == "f, line 3", "\(line)")
  }

  @Test func anEmptyLexicon_isTold() {
    for text in ["", "MNCL\n", "\n\n"] {
      let error = #expect(throws: ApusError.self) {
        try PronouncingLexicon.parse(Array(text.utf8), path: "f")
      }
      #expect(error?.what == "the file has no entries")
    }
  }

  @Test func formsOfAWordStayTogether() {
    func isHeldOut(_ word: String) -> Bool { SpokenLexicon.isHeldOut(Array(word.utf8)) }
    let words = (0..<4000).map { number in
      String(
        (0..<4).map { Character(UnicodeScalar(UInt8(97 + number / [1, 9, 60, 300][$0] % 26))) })
    }
    for word in words.prefix(200) { #expect(isHeldOut(word) == isHeldOut(word + "erebbero")) }
    let share = Double(words.count(where: isHeldOut)) / 4000
    #expect((0.05...0.15).contains(share), "\(share)")
  }

  @Test func aTableAlignsLettersWithPhones() {
    // 1 is said 5, 2 is said 6 7, 3 is silent but before 1: then it is said 8.
    func said(_ letters: [Int]) -> [Int] {
      letters.enumerated().flatMap { place, letter -> [Int] in
        switch letter {
        case 1: [5]
        case 2: [6, 7]
        default: place + 1 < letters.count && letters[place + 1] == 1 ? [8] : []
        }
      }
    }
    var random = RecipeRandom(seed: 1)
    let words = (0..<300).map { _ in (0..<(2 + random.below(6))).map { _ in 1 + random.below(3) } }
      .filter { !said($0).isEmpty }
    let table = LetterTable(words.map { NumberedWord(letters: $0, phones: said($0)) })
    let right = words.count { table.phones(of: $0) == said($0) }
    #expect(Double(right) > 0.95 * Double(words.count))
    #expect(table.phones(of: [2, 2, 3, 1, 1, 2, 2, 3]) == said([2, 2, 3, 1, 1, 2, 2, 3]))
    #expect(table.phones(of: [9]).isEmpty && table.phones(of: []).isEmpty)
    #expect(LetterTable([]).phones(of: [1]).isEmpty)
  }

  @Test func edits() {
    #expect(editDistance(Array("kitten"), Array("sitting")) == 3)
    #expect(editDistance([Int](), [1, 2]) == 2 && editDistance([1, 2], []) == 2)
    #expect(editDistance([1, 2, 3], [1, 2, 3]) == 0 && editDistance([1, 2], [2, 1]) == 2)
  }

  @Test func wordsAreScored_byAnyWayToSayThem() throws {
    let words = ["aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff", "gggg", "hhhh", "iiii", "jjjj"].map
    {
      SpokenWord(letters: Array($0.utf8), sounds: [["a", "E1"], ["a", "e1", "o"]])
    }
    let lexicon = try SpokenLexicon(
      words
        + (0..<60).map {
          SpokenWord(letters: Array("\($0)xxx".utf8), sounds: [["a", "e", "E", "O1", "o1", "o"]])
        }, path: "f")
    // By their order: E, E1, O1, a, e, e1, o, o1 from 1 on.
    let score = lexicon.score([[4, 2], [4, 6, 7], [4, 6], [5]], of: Array(words.prefix(4)))
    #expect(score.words == 0.5 && score.wordsWithoutStress == 0.75)
    #expect(score.phoneErrors == Double(0 + 0 + 1 + 2) / Double(2 + 3 + 2 + 2))
    #expect(lexicon.names([0, 1, 99]) == ["", "E", "?"])
  }

  /// `s` is said as `S` where the word ends in i, far away: no table of neighbours knows.
  private func lexicon(_ count: Int) -> String {
    var random = RecipeRandom(seed: 4)
    let lines = (0..<count).map { _ -> String in
      let syllables = (0..<4).map { _ in
        (["b", "d", "s", "t"][random.below(4)], ["a", "o", "i"][random.below(3)])
      }
      let isSoft = syllables.last!.1 == "i"
      let sounds = syllables.enumerated().map { place, syllable in
        let (onset, vowel) = (syllable.0 == "s" && isSoft ? "S" : syllable.0, syllable.1)
        return place == 2 ? "((\(onset) \(vowel)1) 1)" : "((\(onset) \(vowel)) 0)"
      }
      return
        "(\"\(syllables.map { $0.0 + $0.1 }.joined())\" S (\(sounds.joined(separator: " "))))\n"
    }
    return "MNCL\n" + lines.joined()
  }

  @Test func soundsAreLearnt_whereNoTableKnowsThem() throws {
    try withFolder { folder in
      try folder.write(lexicon(14_000), "lex.out")
      let (figures, told) = try folder.run(
        "italian-sounds",
        [
          "epochs": "3", "units": "48", "width": "16", "batch": "16", "learning-rate": "0.007",
          "beams": "3",
        ])
      let table = try #require(figures["word accuracy by a table of letters"])
      let greedy = try #require(figures["word accuracy, greedy"])
      #expect(table < 0.5 && greedy > 0.8, "\(figures)")
      // By teacher forcing the same words are right as by hearing oneself.
      #expect(abs(greedy - (figures["test word accuracy"] ?? 0)) < 1e-6, "\(figures)")
      let searched = try #require(figures["word accuracy, 3 beams"])
      #expect(searched > greedy - 0.02 && figures["phone error rate, 3 beams"]! < 0.1, "\(figures)")
      #expect(told.contains("It says:\n"))
    }
  }

  @Test func aSearchOfOneBeam_saysWhatIsLikeliestAtEachPhone() throws {
    let model = PhoneTranscriber(letters: 20, phones: 12, width: 8, units: 8)
    try model.initialize(seed: 5)
    // Lively weights, so that words are said differently.
    for (_, parameter) in model.parameters {
      let value = try parameter.value()
      try parameter.set(NDArray(value.floats.map { $0 * 4 }, shape: value.shape))
    }
    let decoder = try PhoneDecoder(model, compile: CompileOptions())
    let words = (0..<6).map { word in (0...word).map { 1 + (word * 7 + $0 * 5) % 19 } }
    let greedy = try decoder.transcribe(words, padding: 6, most: 9)
    #expect(Set(greedy).count > 1)
    #expect(try decoder.search(words, padding: 6, most: 9, beams: 1) == greedy)
    // Each word is searched for by itself.
    let together = try decoder.search(words, padding: 6, most: 9, beams: 4)
    for (word, found) in zip(words, together) {
      #expect(try decoder.search([word], padding: 6, most: 9, beams: 4) == [found])
    }
    #expect(try decoder.search([], padding: 6, most: 9, beams: 4).isEmpty)
  }

  @Test func lexiconsOfOtherSizes_areTold() throws {
    try withFolder { folder in
      func what(_ entries: [String]) throws -> String? {
        try folder.write("MNCL\n" + entries.joined(separator: "\n"), "lex.out")
        let error = #expect(throws: ApusError.self) { try folder.run("italian-sounds", [:]) }
        #expect(error?.kind == .invalidFile && error?.location?.contains("lex.out") == true)
        return error?.what
      }
      let long = String(repeating: "a", count: 29)
      let tooLong = try what(["(\"\(long)\" S (((a) 0)))"])
      let tooMany = try what((0..<60).map { "(\"a\($0)\" S (((p\($0)) 0)))" })
      let tooFew = try what(["(\"a\" S (((a) 0)))"])
      #expect(tooLong?.contains("too long") == true)
      #expect(tooMany?.contains("60 phones") == true)
      #expect(tooFew?.contains("held out") == true)
    }
  }

  // MARK: Tunes

  @Test func tunesAreLearntAndWritten() throws {
    try withFolder { folder in
      var random = RecipeRandom(seed: 2)
      // Each bar is there twice: what stands eight characters before tells the next.
      let tunes = (0..<120).map { number in
        let bars = (0..<3).map { _ in
          let bar = (0..<5).map { _ in ["A", "B", "c", "d"][random.below(4)] }.joined()
          return "\(bar)|\(bar)|"
        }
        return "X:\(number)\nK:G\n\(bars.joined())\n\n"
      }
      try folder.write(tunes.joined(), "b.abc")
      let (figures, told) = try folder.run(
        "irish-tunes",
        ["epochs": "24", "units": "48", "batch": "10", "learning-rate": "0.01"])
      let bits = try #require(figures["test bits per character"])
      let counted = try #require(figures["bits by Kneser-Ney 5-grams"])
      #expect(bits < counted && counted < figures["bits by single characters"] ?? 0, "\(figures)")
      #expect(told.contains("It writes:\n"))
      try folder.write(tunes.prefix(99).joined(), "b.abc")
      let error = #expect(throws: ApusError.self) { try folder.run("irish-tunes", [:]) }
      #expect(error?.kind == .invalidFile && error?.what == "99 tunes")
      try folder.write("no tune\n", "b.abc")
      let none = #expect(throws: ApusError.self) { try folder.run("irish-tunes", [:]) }
      #expect(none?.what == "no file has a tune")
    }
  }
}
