// The text that king-james-gpt reads, and what it makes of it.

import Apus
import ApusData
import Foundation
import TestSupport
import Testing

@testable import ApusRecipes

extension ZText {
  func error(_ change: (ZText) throws -> Void) throws -> String? {
    try change(self)
    return #expect(throws: ApusError.self) { _ = try SwordText(contentsOf: path) }?.description
  }
}

@Suite struct KingJamesTests {
  private static let books = [
    [
      "", "In <w lemma=\"strong:H7225\">the   beginning</w>",
      "<title>Of <b>Light</b></title>Let there <br/>be\n light ",
    ],
    [
      "<note type=\"x\">not <hi>this</hi></note>",
      "&lt;A&gt; &amp;amp; <q>æon’s</q> end<note>x</note>",
    ],
  ]

  @Test func versesAreTheirWords() throws {
    func verses(_ books: [[String]]) throws -> [String] {
      let text = try ZText(books)
      return try withExtendedLifetime(text) { try SwordText(contentsOf: text.path).verses }
    }
    #expect(
      try verses(Self.books) == ["In the beginning", "Let there be light", "<A> &amp; æon’s end"])
    #expect(try verses([["un<b", "<note>no end", "x<note/>y"]]) == ["un", "xy"])
  }

  @Test func entriesKeepTheirPlaces_whereTheyAreEmpty() throws {
    let text = try ZText(Self.books)
    let found = try withExtendedLifetime(text) { try SwordText(contentsOf: text.path).entries }
    #expect(found == ["", "In the beginning", "Let there be light", "", "<A> &amp; æon’s end"])
  }

  @Test func damagedTexts_areToldWithFileAndPlace() throws {
    func folder() throws -> ZText { try ZText(Self.books) }
    #expect(
      try folder().error { try $0.write(Array($0.bytes("ot.bzv").dropLast()), "ot.bzv") }?
        .contains("ot.bzv, byte 49") == true)
    #expect(
      try folder().error { try $0.write(Array($0.bytes("ot.bzz").dropLast()), "ot.bzz") }?
        .contains("ot.bzs, byte 12") == true)
    for (name, place, word) in [
      ("ot.bzv", 0, "1 blocks"), ("ot.bzv", 14, "within"), ("ot.bzs", 8, "inflates"),
      ("ot.bzs", 4, "a block of"), ("ot.bzz", 0, "damaged"), ("ot.bzz", 40, "damaged"),
    ] {
      let found = try ZText([Self.books[0]]).error { text in
        var bytes = try text.bytes(name)
        bytes[place] ^= name == "ot.bzv" && place == 0 ? 9 : 0x55
        if name == "ot.bzv" { bytes[8] = 1 }
        try text.write(bytes, name)
      }
      #expect(found?.contains(word) == true && found?.contains("ot.bz") == true, "\(found ?? "")")
    }
    #expect(throws: ApusError.self) { _ = try SwordText(contentsOf: "/nowhere") }
  }

  @Test func charactersBecomeTokensAndBack() {
    let tokens = CharacterText.tokens("A z~\n’æ—é¶")
    #expect(CharacterText.text(tokens.map(Int.init)) == "A z~\n'ae-")
    #expect(tokens.allSatisfy { $0 < 96 } && tokens[4] == 0)
    #expect(CharacterText.text([95, 96, -1]) == "~??")
  }

  @Test func windowsHoldEachTokenBesideTheNext() throws {
    let windows = TokenWindows(tokens: [UInt8](0..<10), length: 4)
    #expect(windows.count == 2 && TokenWindows(tokens: [Int32](), length: 4).count == 0)
    let iterator = try windows.batched(2, shuffle: nil).makeIterator(epoch: 0)
    let batch = try #require(try iterator.next())
    #expect(batch.names == ["tokens", "next"])
    #expect(batch.arrays[0].integers == Array(0..<8) && batch.arrays[1].integers == Array(1..<9))
  }

  @Test func countingTakesTheEntropy() {
    // Of two letters that alternate, each is one bit alone and almost none after the other.
    let text = [UInt8](repeating: 0, count: 20_000).enumerated().map { UInt8($0.offset % 2) }
    let single = CharacterText.bits(of: text, after: text, order: 0)
    let pairs = CharacterText.bits(of: text, after: text, order: 1)
    #expect(abs(single - 1) < 0.01 && pairs < 0.02 && pairs > 0)
    #expect(abs(CharacterText.bits(of: [5, 6], after: [], order: 0) - log2(96)) < 1e-9)
  }

  @Test func aRun_learnsWritesAndGoesOn() throws {
    let verse = "And it came to pass in those days that there went out a decree."
    let text = try ZText([[String](repeating: verse, count: 300)])
    func run(_ epochs: Int, resume: String? = nil, tell: @escaping (String) -> Void = { _ in })
      throws -> RecipeOutcome
    {
      let recipe = try recipes.named("king-james-gpt")
      var options = recipe.defaults
      for (name, value) in [
        ("data", text.path), ("epochs", "\(epochs)"), ("width", "16"), ("heads", "2"),
        ("blocks", "1"), ("length", "16"), ("learning-rate", "0.01"),
      ] { try options.set(name, to: value) }
      return try RecipeRun(
        recipe, options, output: text.path + "/gpt.safetensors", resume: resume,
        checkpoints: text.path + "/runs", tell: tell
      ).start()
    }
    var told = ""
    let outcome = try run(2) { told += $0 }
    let figures = Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) })
    let bits = try #require(figures["test bits per character"])
    #expect(bits < (figures["bits by single letters"] ?? 0) && bits > 0)
    #expect(abs((figures["test loss"] ?? 0) / bits - log(2)) < 1e-4)
    #expect(told.contains("It writes:\n"))
    #expect((figures["bits by Kneser-Ney 5-grams"] ?? 9) < figures["bits by pairs of letters"] ?? 0)
    let model = GPT2(.init(vocabulary: 96, length: 16, width: 16, layers: 1, heads: 2))
    try model.load(text.path + "/gpt.safetensors")
    let further = try run(3, resume: text.path + "/runs")
    #expect(further.figures.first { $0.name == "test bits per character" }!.value < bits)
  }

  @Test func wordsAreLearntToo() throws {
    let verses = (0..<400).map { place in
      let (a, b) = ([("fox", "hen"), ("cat", "dog"), ("cow", "owl")][place * place % 7 % 3])
      return "The \(a) saw the \(b), and the \(b) saw the \(a)."
    }
    let text = try ZText([verses])
    let recipe = try recipes.named("king-james-words")
    var options = recipe.defaults
    for (name, value) in [
      ("data", text.path), ("epochs", "6"), ("width", "16"), ("units", "32"), ("length", "28"),
      ("dropout", "0.1"),
      ("vocabulary", "24"), ("learning-rate", "0.02"), ("batch", "8"),
    ] { try options.set(name, to: value) }
    var told = ""
    let outcome = try RecipeRun(
      recipe, options, output: text.path + "/w.safetensors", tell: { told += $0 }
    ).start()
    let figures = Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) })
    let bits = try #require(figures["test bits per word"])
    // Which pair comes is all that is new, 1.6 bits in fourteen words; 5-grams forget the first of the two.
    let counted = try #require(figures["bits per word by Kneser-Ney 5-grams"])
    #expect(bits < 0.6 && counted < 1 && figures["unknown words"] == 0, "\(figures)")
    let characters = Double(verses[0].count + 1) / 14
    #expect(abs((figures["bits per character"] ?? 0) * characters - bits) < 0.05, "\(figures)")
    #expect(told.contains("It writes:\n"))
  }

  @Test func sizesThatDoNotGoTogether_areTold() throws {
    let recipe = try recipes.named("king-james-gpt")
    var options = recipe.defaults
    try options.set("heads", to: "3")
    let error = #expect(throws: ApusError.self) {
      _ = try recipe.steps(options, compile: CompileOptions())
    }
    #expect(error?.what.contains("3 heads of a width of 256") == true)
  }
}
