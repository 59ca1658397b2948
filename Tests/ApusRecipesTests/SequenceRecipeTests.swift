// Recipes of sequences: what they read, what they are compared with, that they learn; and short looks.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

@Suite struct SequenceRecipeTests {
  private func withFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-series-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  private func run(
    _ name: String, _ folder: URL, _ values: [String: String], isQuick: Bool = false
  ) throws -> [String: Double] {
    let recipe = try recipes.named(name)
    var options = recipe.defaults
    try options.set("data", to: folder.path)
    for (option, value) in values { try options.set(option, to: value) }
    let output = folder.appending(path: "w").path
    let outcome = try RecipeRun(recipe, options, output: output, isQuick: isQuick).start()
    return Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) })
  }

  // MARK: Tags

  /// A line of CoNLL-U.
  private func word(_ number: String, _ word: String, _ tag: String) -> String {
    "\(number)\t\(word)\t_\t\(tag)\t_\t_\t_\t_\t_\t_\n"
  }

  /// `fire` is a noun behind `the` and a verb before it: order decides, not the word.
  private func tagged(_ count: Int) -> String {
    (0..<count).map { place in
      let name = "thing\(place % 7)"
      let words =
        place % 2 == 0
        ? [("the", "DET"), ("fire", "NOUN"), (name, "VERB")]
        : [("fire", "VERB"), ("the", "DET"), (name, "NOUN"), (".", "PUNCT")]
      return words.enumerated().map { word("\($0 + 1)", $1.0, $1.1) }.joined() + "\n"
    }.joined()
  }

  @Test func sentencesAreTheirWordsAndTags() throws {
    let text =
      "# text = x\n" + word("1-2", "della", "_") + word("1", "di", "ADP") + word("1.1", "", "X")
      + word("2", "la", "DET") + "\n\n" + word("1", "é", "NOUN")
    #expect(
      try TaggedText.parse(text, path: "f") == [
        TaggedSentence(words: ["di", "la"], tags: ["ADP", "DET"]),
        TaggedSentence(words: ["é"], tags: ["NOUN"]),
      ])
    #expect(try TaggedText.parse(text.replacing("\n", with: "\r\n"), path: "f").count == 2)
  }

  @Test(arguments: [
    ("1\ta\tb\n", "f, line 1: the line has 3 columns"), ("", "no sentences"),
    ("# x\n", "no sentences"),
  ])
  func damagedTextsAreToldWithTheirLine(text: String, words: String) {
    let error = #expect(throws: ApusError.self) { try TaggedText.parse(text, path: "f") }
    #expect(error?.kind == .invalidFile)
    let told = "\(error?.location ?? ""): \(error?.what ?? "")"
    #expect(told.contains(words), "\(told)")
  }

  @Test func wordsOutOfOrder_andEmptyOnes_areToldWithTheirLine() {
    for (text, what) in [
      (word("1", "a", "X") + word("3", "b", "X"), "word number '3'"),
      (word("1", "", "X"), "the word is empty"), (word("1", "a", ""), "the tag is empty"),
      (word("one", "a", "X"), "word number 'one'"),
    ] {
      let error = #expect(throws: ApusError.self) { try TaggedText.parse(text, path: "f") }
      #expect(error?.what == what && error?.location?.hasPrefix("f, line ") == true)
    }
  }

  @Test func featuresOfWords_areNumbersOfWhatStandsThereAgain() {
    let features = WordFeatures([
      TaggedSentence(words: ["Walking", "talking", "walking"], tags: ["V", "V", "V"])
    ])
    let (a, b) = (features["walking"], features["stalking"])
    #expect(a.count == WordFeatures.perWord && b.count == a.count)
    #expect(a[0] == 0 && b[0] == 0)  // each word stands there once
    #expect(a[1] != 0 && b[1] == 0)  // but for its first letter's size
    #expect(a[2] == b[2] && a.suffix(5) == b.suffix(5) && !b.suffix(5).contains(0))
    #expect(a[5] != 0 && b[5] == 0)
    #expect(features[""].count == WordFeatures.perWord && features["77"][2] == 0)
    #expect(Int((a + b).max()!) < features.count)
  }

  @Test func countingTakesTheMostFrequentTag() {
    func sentence(_ words: String, _ tags: String) -> TaggedSentence {
      TaggedSentence(words: words.map { "\($0)" }, tags: tags.map { "\($0)" })
    }
    let training = [sentence("aab", "NVN"), sentence("aab", "VVN"), sentence("cd", "NN")]
    #expect(TaggingRecipe.counted(training, [sentence("abcx", "VNVN")]) == 0.75)
    #expect(TaggingRecipe.counted(training, [sentence("", "")]) == 0)
  }

  @Test func tagsAreLearntFromBothSides() throws {
    try withFolder { folder in
      for file in ["web", "wiki"] {
        try tagged(60).write(
          to: folder.appending(path: "\(file).conllu"), atomically: true, encoding: .utf8)
      }
      let figures = try run(
        "turkish-tags", folder,
        ["epochs": "6", "units": "8", "width": "8", "learning-rate": "0.02", "batch": "2"])
      let counted = try #require(figures["accuracy by each word's most frequent tag"])
      #expect(counted < 0.9)
      #expect(try #require(figures["test accuracy"]) > 0.98, "\(figures)")

      try (0..<12).map { _ in (1...89).map { word("\($0)", "a", "X") }.joined() + "\n" }.joined()
        .write(to: folder.appending(path: "wiki.conllu"), atomically: true, encoding: .utf8)
      let error = #expect(throws: ApusError.self) { try run("turkish-tags", folder, [:]) }
      #expect(error?.kind == .invalidFile && error?.what == "sentence 61 has 89 words")
    }
  }

  // MARK: Forecasts

  private func months(_ rows: Int, from year: Int = 1950) -> String {
    "\"YEAR\"," + (1...12).map { "\"M\($0)\"" }.joined(separator: ",") + "\n"
      + (0..<rows).map { row in
        "\(year + row),"
          + (0..<12).map { month in
            // A wave of seventeen months over the year's.
            let time = Double(12 * row + month)
            return "\(20 + 3 * sin(time * .pi / 6) + 2 * sin(time * 2 * .pi / 17))"
          }.joined(separator: ",")
      }.joined(separator: "\n") + "\n"
  }

  @Test func aSeriesIsForetold_betterThanWithoutLearning() throws {
    try withFolder { folder in
      func write(_ text: String) throws {
        try text.write(
          to: folder.appending(path: "elnino.csv"), atomically: true, encoding: .utf8)
      }
      try write(months(61))
      let figures = try run(
        "el-nino", folder, ["epochs": "20", "units": "16", "learning-rate": "0.01"])
      let error = try #require(figures["test mean error in degrees"])
      for name in ["the last month", "a year before", "the month's mean"] {
        #expect(error < 0.5 * (figures["error by \(name)"] ?? 0), "\(figures)")
      }
      for text in [
        months(60),
        months(30)
          + months(31, from: 1990).split(separator: "\n").dropFirst().joined(separator: "\n"),
        months(61).replacing("20.0,", with: "nan,"), "YEAR,M\n1950,1\n",
      ] {
        try write(text)
        let error = #expect(throws: ApusError.self) { try run("el-nino", folder, [:]) }
        #expect(error?.kind == .invalidFile && error?.location?.contains("elnino.csv") == true)
      }
    }
  }

  @Test func whatNeedsNoLearning_isCounted() {
    // Each year one degree warmer: a year before is one degree off, and so on.
    let series = (0..<120).map { Double($0 / 12) }
    let errors = ForecastRecipe.simple(series)
    #expect(ForecastRecipe.end(of: series) == 96)
    #expect(errors.map(\.name) == ["the last month", "a year before", "the month's mean"])
    #expect(errors[1].error == 1)
    #expect(abs(errors[2].error - (8.5 - 3.5)) < 0.1)
    #expect(errors[0].error > 0 && errors[0].error < 1)
  }

  // MARK: Series of their own lengths

  @Test func speakersAreToldWhereverAnUtteranceEnds() throws {
    let model = SpeakerNetwork(2, units: 4, classes: 3)
    try model.initialize(seed: 1)
    let predict = try Predictor(model) { model, x in [model(x[0], lengths: x[1])] }
    let short = NDArray((0..<12).map { Float($0) / 7 }, shape: [1, 6, 2])
    var values = short.floats
    values.replaceSubrange(8..<12, with: [.nan, 100, -5, .infinity])
    let length = NDArray([4] as [Int32], shape: [1])
    let first = try predict.run([short, length])[0]
    #expect(try predict.run([NDArray(values, shape: [1, 6, 2]), length])[0] == first)
    #expect(first.shape == [1, 3] && first.isFinite)
  }

  @Test func theNearestMeanIsCounted() throws {
    func series(_ values: [[Float]], _ labels: [Int]) throws -> LabeledSeries {
      try LabeledSeries(
        series: values.map { NDArray($0, shape: [$0.count, 1]) }, labels: labels, channels: 1,
        classNames: ["a", "b", "c"])
    }
    let training = try series([[0, 2], [1], [5, 5, 5]], [0, 0, 1])
    let test = try series([[2], [4, 6], [0], [9]], [0, 1, 1, 2])
    #expect(VowelsGRURecipe.byNearestMean(training, test) == 0.5)
  }

  // MARK: Short looks

  @Test func theFirstBatchesAreThoseOfTheSource() throws {
    let data = try ArrayDataset(["x": NDArray((0..<23).map { Float($0) }, shape: [23])])
    let whole = try data.batched(4)
    let few = FirstBatches(whole, 3)
    #expect(few.batchCount == 3 && few.exampleCount == 12)
    #expect(FirstBatches(whole, 9).batchCount == 6 && FirstBatches(whole, 9).exampleCount == 23)
    func read(_ source: any BatchSource, from first: Int = 0) throws -> [[Float]] {
      let iterator = try source.makeIterator(epoch: 1, startingAt: first)
      var found: [[Float]] = []
      while let batch = try iterator.next() { found.append(batch.x!.floats) }
      return found
    }
    let shuffled = (few.forTraining(seed: 5), whole.forTraining(seed: 5))
    #expect(try read(shuffled.0) == Array(read(shuffled.1).prefix(3)))
    #expect(try read(shuffled.0, from: 2) == Array(read(shuffled.1)[2..<3]))
    #expect(try read(few, from: 3).isEmpty)
    #expect(shuffled.0.identity.hasPrefix("the first 3 batches of 23 examples"))
  }

  @Test func aShortLook_takesFewSteps() throws {
    try withFolder { folder in
      for file in ["web", "wiki"] {
        try tagged(400).write(
          to: folder.appending(path: "\(file).conllu"), atomically: true, encoding: .utf8)
      }
      var steps = 0
      let recipe = try recipes.named("turkish-tags")
      var options = recipe.defaults
      for (name, value) in [("data", folder.path), ("epochs", "1"), ("batch", "4"), ("units", "4")]
      {
        try options.set(name, to: value)
      }
      let run = RecipeRun(
        recipe, options, output: folder.appending(path: "w").path, isQuick: true,
        hearGradients: { step, _ in steps = step })
      let outcome = try run.start()
      #expect(steps == 50 && outcome.figures.contains { $0.name == "test accuracy" })
    }
  }
}
