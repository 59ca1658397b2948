// Translations and summaries on small invented texts: what is read, what stands beside it, that they learn.

import Apus
import ApusText
import Foundation
import TestSupport
import Testing

@testable import ApusRecipes

@Suite struct TextPairRecipeTests {
  private func withFolder(_ body: (RecipeFolder) throws -> Void) throws {
    let folder = try RecipeFolder()
    defer { folder.remove() }
    try body(folder)
  }

  // MARK: Tables of words

  @Test func aTableFindsWhichWordBecomesWhich_wherever() {
    let words = ["sun": "sol", "moon": "luna", "star": "estrella", "sea": "mar", "sand": "arena"]
    var random = RecipeRandom(seed: 2)
    let pairs = (0..<200).map { _ -> TextPair in
      let chosen = (0..<3).map { _ in words.keys.sorted()[random.below(5)] }
      // In the other order, and with a word that nothing makes.
      let other = chosen.reversed().map { words[$0]! }
      return TextPair(
        source: " " + chosen.joined(separator: " "),
        target: " pues " + other.joined(separator: " "))
    }
    let table = WordTranslations(pairs)
    #expect(table.translated(" sea moon fire, sun") == " mar luna fire, sol")
    #expect(table.translated("") == "")
    #expect(WordTranslations([]).translated("as it is") == "as it is")
  }

  /// Brown et al. 1993, by hand: of two pairs of sentences the first round gives halves, the second more to what is alone.
  @Test func roundsOfATable_areThoseOfThePaper() {
    let pairs = [TextPair(source: "a b", target: "x y"), TextPair(source: "a", target: "x")]
    #expect(WordTranslations(pairs, rounds: 4).translated("a b") == "x y")
  }

  // MARK: Verses

  @Test func chaptersStayTogether_andWhatOneTextLacksIsLeftOut() {
    var (source, target) = ([String](), [String]())
    for chapter in 0..<40 {
      source += ["", "", "¶ verse \(chapter).1", "verse \(chapter).2", "verse \(chapter).3"]
      target += ["", "", "verso \(chapter).1", chapter == 3 ? "" : "verso \(chapter).2", "¶ verso"]
    }
    let texts = BibleVerses.split(source, target)
    #expect(
      texts.test.map(\.source) == [10, 30].flatMap { c in (1...3).map { "verse \(c).\($0)" } })
    #expect(texts.test.map(\.target).prefix(3) == ["verso 10.1", "verso 10.2", "verso"])
    #expect(texts.training.count == 38 * 3 - 1)
    #expect(!texts.training.contains { $0.source.hasPrefix("verse 3.2") })
  }

  /// Adjectives go behind their nouns: a table of words does not know.
  private func verses(_ count: Int) -> (english: [[String]], spanish: [[String]]) {
    let nouns = [("house", "casa"), ("dog", "perro"), ("king", "rey"), ("river", "río")]
    let adjectives = [("red", "rojo"), ("small", "chico"), ("old", "viejo"), ("good", "bueno")]
    let verbs = [("sees", "ve"), ("has", "tiene"), ("leaves", "deja")]
    var random = RecipeRandom(seed: 3)
    func phrase() -> (String, String) {
      let (noun, adjective) = (nouns[random.below(4)], adjectives[random.below(4)])
      return ("\(adjective.0) \(noun.0)", "\(noun.1) \(adjective.1)")
    }
    var (english, spanish) = ([[String]](), [[String]]())
    for _ in 0..<count {
      var chapter = ([""], [""])
      for _ in 0..<24 {
        let (subject, verb, object) = (phrase(), verbs[random.below(3)], phrase())
        chapter.0.append("The \(subject.0) \(verb.0) a \(object.0).")
        chapter.1.append("El \(subject.1) \(verb.1) un \(object.1).")
      }
      english.append(chapter.0)
      spanish.append(chapter.1)
    }
    return (english, spanish)
  }

  @Test func versesAreTranslated_inTheOrderOfTheOtherLanguage() throws {
    try withFolder { folder in
      let (english, spanish) = verses(31)
      let texts = try [ZText(english), ZText(spanish)]
      for (text, name) in zip(texts, [BibleVerses.source, BibleVerses.target]) {
        try FileManager.default.createSymbolicLink(
          at: folder.folder.appending(path: name), withDestinationURL: text.folder)
      }
      let (figures, told) = try folder.run(
        "verse-translation",
        [
          "epochs": "8", "vocabulary": "320", "width": "32", "layers": "1", "dropout": "0",
          "learning-rate": "0.008", "warm-up": "60", "batch": "16",
        ])
      let greedy = try #require(figures["BLEU by greedy"])
      let table = try #require(figures["BLEU by a table of words"])
      let source = try #require(figures["BLEU by the source"])
      #expect(greedy > 80 && greedy > table + 20 && table > source, "\(figures)")
      #expect(try #require(figures["BLEU by beams of 4"]) > 80)
      #expect(try #require(figures["chrF by greedy"]) > 90)
      #expect(told.contains("It translates:\n  The ") && told.contains("1909:    El "))

      // Who has weights and tokenizer translates.
      let tokenizer = try Tokenizer(file: folder.path + "/w.tokenizer.json")
      #expect(told.contains("w.tokenizer.json") && tokenizer.idLimit <= 320)
      var sizes = EncoderDecoderTransformer.Configuration(
        vocabulary: 320, length: 160, width: 32, layers: 1, heads: 1, startToken: 0, endToken: 1)
      sizes.targetLength = 160
      let model = EncoderDecoderTransformer(sizes)
      try model.load(folder.path + "/w.safetensors")
      let first = try #require(BibleVerses.read(in: folder.path).test.first)
      let tokens = try tokenizer.ids(of: first.source) + [1]
      let written = try EncoderDecoderGenerator(model).generate([tokens])[0]
      let text = try tokenizer.decode(written.filter { $0 > 1 })
      #expect(text.drop { $0 == " " } == first.target, "\(text)")
    }
  }

  @Test func BiblesThatAreNotThere_areToldWithTheirPackage() throws {
    try withFolder { folder in
      let error = #expect(throws: ApusError.self) { try folder.run("verse-translation", [:]) }
      #expect(error?.description.contains("apt install sword-text-kjv") == true)
      let text = try ZText([["", "In the beginning"]])
      try FileManager.default.createSymbolicLink(
        at: folder.folder.appending(path: BibleVerses.source), withDestinationURL: text.folder)
      let other = #expect(throws: ApusError.self) { try folder.run("verse-translation", [:]) }
      #expect(other?.description.contains("apt install sword-text-sparv") == true)
      let longer = try ZText([["", "En el principio", "Y la tierra"]])
      try FileManager.default.createSymbolicLink(
        at: folder.folder.appending(path: BibleVerses.target), withDestinationURL: longer.folder)
      let third = #expect(throws: ApusError.self) { try folder.run("verse-translation", [:]) }
      #expect(third?.description.contains("2 and 3 entries") == true)
    }
  }

  // MARK: Packages

  @Test func packagesAreReadFromAptsIndex() throws {
    let text = """
      Package: a
      Description-md5: 0
      Description-en: Editor of  texts
       It edits
       texts.
       .
        * fast

      Package: a-doc
      Description-en: Editor of texts
       It edits texts. * fast

      Package: b
      Description-de: Sache
       Nichts
      Package: c
      Description-en: A line alone

      Package: d
      Description-en: last
       é one
      """
    let found = try PackageDescriptions.parse(Array(text.utf8), path: "f")
    #expect(
      found == [
        PackageDescription(name: "a", summary: "Editor of texts", text: "It edits texts. * fast"),
        PackageDescription(name: "d", summary: "last", text: "é one"),
      ])
    for bad in ["", "\n\n", "Package: a\n", "Description-en: x\n y\n", "x"] {
      let error = #expect(throws: ApusError.self) {
        try PackageDescriptions.parse(Array(bad.utf8), path: "f")
      }
      #expect(error?.kind == .invalidFile, "\(bad)")
    }
  }

  @Test func namesOfTheSamePackage_haveOneStem() {
    for (name, stem) in [
      ("libpng16-16", "png"), ("libpng-dev", "png"), ("libpng-tools", "png"), ("foo-doc", "foo"),
      ("python3-numpy", "numpy"), ("lib", "lib"), ("libc6", "libc"), ("2048", "2048"), ("-", "-"),
      ("0ad-data-common", "0ad"), ("doc", "doc"), ("gcc-12-base", "gcc"),
    ] { #expect(PackageDescriptions.stem(name) == stem, "\(name)") }
  }

  private func packages(_ count: Int) -> [PackageDescription] {
    let kinds = ["editor", "player", "compiler", "parser", "viewer", "server"]
    let things = ["texts", "sounds", "images", "maps", "tables", "letters", "games", "trees"]
    var random = RecipeRandom(seed: 6)
    return (0..<count).map { number in
      let (kind, thing) = (kinds[random.below(6)], things[random.below(8)])
      // Names that no vocabulary has.
      let name = String((0..<6).map { _ in Character(UnicodeScalar(UInt8(97 + random.below(26)))) })
      return PackageDescription(
        name: "\(name)-x\(number)", summary: "\(kind) \(name) of \(thing)",
        text:
          "This program of \(thing), \(name), is a \(kind) for everybody who has a computer and "
          + "some time to spend with it on days without rain.")
    }
  }

  @Test func packagesThatAreAlike_stayOnOneSide() throws {
    var all = packages(600)
    all += all.map { package in
      var twin = package
      twin.name += "-doc"
      twin.summary += " (documentation)"
      return twin
    }
    let texts = PackageDescriptions.split(all)
    let learnt = Set(texts.training.map(\.source))
    #expect(texts.test.count > 10 && texts.training.count > 1000)
    for pair in texts.test { #expect(!learnt.contains(pair.source)) }
    // One of each kind.
    #expect(Set(texts.test.map(\.source)).count == texts.test.count)
    let few = PackageDescriptions.split(all, most: 100)
    #expect((90...100).contains(few.training.count) && few.test == texts.test)
    #expect(few.training.allSatisfy { texts.training.contains($0) })
  }

  @Test func namesAreCopied_whichNoVocabularyHas() throws {
    try withFolder { folder in
      let text = packages(900).map {
        "Package: \($0.name)\nDescription-en: \($0.summary)\n \($0.text)\n\n"
      }.joined()
      try folder.write(text, "packages.txt")
      let (figures, told) = try folder.run(
        "package-summaries",
        [
          "epochs": "8", "vocabulary": "320", "width": "32", "layers": "1", "dropout": "0",
          "learning-rate": "0.008", "warm-up": "60", "batch": "16",
        ])
      let greedy = try #require(figures["ROUGE-1 by greedy"])
      let lead = try #require(
        figures.first { $0.key.hasPrefix("ROUGE-1 by the first") }?.value)
      #expect(greedy > lead + 0.2 && greedy > 0.8, "\(figures)")
      #expect(told.contains("It sums up:\n  This program of "))
    }
  }

  @Test func theBestLead_isFoundInWhatIsLearnt() {
    let pairs = (0..<30).map {
      TextPair(
        source: "one two three four five six seven eight \($0)", target: "one two three four five")
    }
    #expect(PackageSummariesRecipe.bestLead(pairs) == 5)
    #expect(PackageSummariesRecipe.lead("a b", 5) == "a b")
  }

  @Test func descriptionsThatAreNotThere_areToldWithTheCommand() throws {
    try withFolder { folder in
      let error = #expect(throws: ApusError.self) { try folder.run("package-summaries", [:]) }
      #expect(error?.description.contains("apt-helper cat-file") == true)
      try folder.write("Package: a\nDescription-en: b\n c\n", "packages.txt")
      let few = #expect(throws: ApusError.self) { try folder.run("package-summaries", [:]) }
      #expect(few?.description.contains("0 descriptions to learn from") == true)
    }
  }
}
