// Recipes of sentiment: what they read, what they are compared with, that they learn.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

@Suite struct SentimentTests {
  private static let encoder = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ApusLanguageTests/Fixtures/encoder").path

  private func withFolder(_ text: String, _ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try text.write(
      toFile: "\(folder)/\(MovieSnippets.file)", atomically: true, encoding: .utf8)
    try body(folder)
  }

  private func run(
    _ name: String, _ folder: String, _ values: [String: String], told: inout [String]
  ) throws -> [String: Double] {
    let recipe = try recipes.named(name)
    var options = recipe.defaults
    try options.set("data", to: folder)
    for (option, value) in values { try options.set(option, to: value) }
    var lines: [String] = []
    let outcome = try RecipeRun(
      recipe, options, output: "\(folder)/w", tell: { lines.append($0) }
    ).start()
    told += lines
    return Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) })
  }

  /// The order of two words decides, which no bag of words knows.
  private func ordered(_ count: Int) -> String {
    let things = ["house", "garden", "river", "mountain", "book", "letter", "bread"]
    return (0..<count).map { place in
      let (a, b) = (things[place % 7], things[place / 7 % 7])
      let isFor = place % 2 == 0
      let words = isFor ? "old \(a) new \(b)" : "new \(a) old \(b)"
      return "\(place + 1)\t\(isFor ? 2.5 : -2.5)\tthe \(words) \(place)\r\n"
    }.joined()
  }

  // MARK: Reading

  @Test func sentencesAreThoseThatJudge_once() throws {
    let text =
      "1\t2.5\tgood\r\n2\t0.4\tso so\r\n3\t-0.5\tbad\r\n4\t3\tgood\r\n"
      + (5..<15).map { "\($0)\t\($0 % 2 == 0 ? 1 : -1)\ttext \($0)\n" }.joined()
    let found = try MovieSnippets.parse(text, path: "f")
    #expect(found.count == 12)
    #expect(found[0] == MovieSnippet(text: "good", isPositive: true))
    #expect(found[1] == MovieSnippet(text: "bad", isPositive: false))
  }

  @Test(arguments: [
    ("1\t2\n", "f, line 1: the line has 2 columns"), ("1\t2\t \n", "f, line 1"),
    ("1\tx\ta\n", "f, line 1: the rating is 'x'"), ("1\t5\ta\n", "the rating is '5'"),
    ("1\tnan\ta\n", "the rating is 'nan'"), ("\n\n1\t1\ta\tb\n", "f, line 3"),
    ("1\t1\ta\n", "1 sentences"), ("", "0 sentences"),
  ])
  func damagedFilesAreToldWithTheirLine(text: String, words: String) {
    let error = #expect(throws: ApusError.self) { try MovieSnippets.parse(text, path: "f") }
    #expect(error?.kind == .invalidFile)
    let told = "\(error?.location ?? ""): \(error?.what ?? "")"
    #expect(told.contains(words), "\(told)")
  }

  @Test func wordsAreNumberedWhereTheyStandTwice() {
    let numbers = SnippetWords(["It's GOOD, good!", "bad; it's 3-D"])
    #expect(numbers.count == 3)
    #expect(numbers["it's good bad"] == [1, 2, 0])
    #expect(numbers[" ... "] == [])
    #expect(SnippetWords.words("a-b c'd 4") == ["a", "b", "c'd", "4"])
  }

  @Test func aBagOfWordsLearnsWords_andNotTheirOrder() throws {
    func snippets(_ range: Range<Int>, _ text: (Int) -> String) -> [MovieSnippet] {
      range.map { MovieSnippet(text: text($0), isPositive: $0 % 2 == 0) }
    }
    func good(_ place: Int) -> String { "the \(place % 2 == 0 ? "good" : "bad") film \(place % 5)" }
    #expect(
      try BagOfWords.accuracy(
        snippets(0..<300, good), snippets(300..<400, good), compile: CompileOptions()) == 1)
    func order(_ place: Int) -> String {
      place % 2 == 0 ? "old new \(place % 5)" : "new old \(place % 5)"
    }
    let blind = try BagOfWords.accuracy(
      snippets(0..<300, order), snippets(300..<400, order), compile: CompileOptions())
    #expect(abs(blind - 0.5) < 0.2)
  }

  // MARK: Learning

  @Test func anLSTMLearnsWhatABagOfWordsCannot() throws {
    try withFolder(ordered(600)) { folder in
      var told: [String] = []
      let figures = try run(
        "sentiment-lstm", folder,
        ["epochs": "8", "units": "8", "width": "8", "learning-rate": "0.02"], told: &told)
      let bag = try #require(figures["accuracy by a bag of words"])
      let accuracy = try #require(figures["test accuracy"])
      #expect(accuracy > 0.95 && bag < 0.7, "\(figures)")
      #expect(told.joined().contains("| against | the new"), "\(told)")
    }
  }

  @Test(arguments: [[:], ["adapters": "4"], ["frozen": "1"]])
  func anEncoderIsTuned_wholeOrInPart(values: [String: String]) throws {
    try withFolder(ordered(400)) { folder in
      var told: [String] = []
      let figures = try run(
        "sentiment-bert", folder,
        values.merging(["epochs": "8", "learning-rate": "0.01", "model": Self.encoder]) { $1 },
        told: &told)
      #expect(try #require(figures["test accuracy"]) > 0.9, "\(values): \(figures)")
      #expect(try #require(figures["accuracy by a bag of words"]) < 0.7, "\(figures)")
    }
  }

  @Test func whatDoesNotGoTogether_isTold() throws {
    try withFolder(ordered(40)) { folder in
      func refused(_ kind: ApusError.Kind, _ words: String, _ values: [String: String]) {
        var told: [String] = []
        let error = #expect(throws: ApusError.self) {
          try run("sentiment-bert", folder, values, told: &told)
        }
        #expect(
          error?.kind == kind && "\(error!)".contains(words), "\(String(describing: error))")
      }
      refused(.io, "pip download", ["model": "/nowhere"])
      refused(
        .invalidArgument, "--frozen 1", ["model": Self.encoder, "adapters": "2", "frozen": "1"])
      refused(.invalidArgument, "at most 2", ["model": Self.encoder, "frozen": "3"])
      refused(.invalidArgument, "the rank is 17", ["model": Self.encoder, "adapters": "17"])
    }
  }
}
