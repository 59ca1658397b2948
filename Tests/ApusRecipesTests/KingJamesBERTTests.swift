// Hidden tokens and hidden names: what recipes that tell them read, what they are compared with, that they learn.

import Apus
import ApusLanguage
import ApusText
import Foundation
import TestSupport
import Testing

@testable import ApusRecipes

@Suite struct KingJamesBERTTests {
  // MARK: Masks

  private func windows(_ count: Int = 1000, share: Double = 0.2, batch: Int = 4) -> MaskedWindows {
    MaskedWindows(
      (0..<count).map { Int32(5 + $0 % 90) }, length: 12, share: share, batch: batch,
      special: MaskedWindows.Special(start: 2, separator: 3, mask: 4), words: 5..<95)
  }

  private func batches(_ source: any BatchSource, epoch: Int = 0, from: Int = 0) throws -> [Batch] {
    let iterator = try source.makeIterator(epoch: epoch, startingAt: from)
    var batches: [Batch] = []
    while let batch = try iterator.next() { batches.append(batch) }
    return batches
  }

  @Test func rowsAreTheText_withSomeOfItHidden() throws {
    let source = windows()
    let all = try batches(source)
    #expect(all.count == source.batchCount && source.exampleCount == 100)
    #expect(all.map(\.count).reduce(0, +) == 100 && all.last?.count == 4)
    var text: [Int] = [], kinds = [0, 0, 0]
    for batch in all {
      #expect(batch.names == ["tokens", "places", "labels"])
      #expect(
        batch.arrays[0].shape == [batch.count, 12] && batch.arrays[1].shape == [batch.count, 2])
      let (tokens, places) = (batch.arrays[0].integers, batch.arrays[1].integers)
      let labels = batch.arrays[2].integers
      for row in 0..<batch.count {
        var own = Array(tokens[row * 12..<row * 12 + 12])
        #expect(own.first == 2 && own.last == 3)
        let chosen = places[row * 2..<row * 2 + 2]
        #expect(Set(chosen).count == 2 && chosen.allSatisfy { (1...10).contains($0) })
        for (place, label) in zip(chosen, labels[row * 2..<row * 2 + 2]) {
          kinds[own[place] == 4 ? 0 : own[place] == label ? 2 : 1] += 1
          #expect(own[place] == 4 || (5..<95).contains(own[place]))
          own[place] = label
        }
        text += own[1...10]
      }
    }
    #expect(text == (0..<1000).map { 5 + $0 % 90 })
    // Eight of ten, one, one: within four deviations.
    #expect(
      abs(kinds[0] - 160) < 24 && abs(kinds[1] - 20) < 18 && abs(kinds[2] - 20) < 18, "\(kinds)")
  }

  @Test func everyEpochHidesAnew_andAnEpochIsTheSameEachTime() throws {
    func arrays(_ source: any BatchSource, _ epoch: Int, from: Int = 0) throws -> [[NDArray]] {
      try batches(source, epoch: epoch, from: from).map(\.arrays)
    }
    let source = windows()
    // What is judged by stays.
    #expect(try arrays(source, 0) == arrays(source, 3))
    let training = source.forTraining(seed: 5)
    let first = try arrays(training, 0)
    #expect(try arrays(training, 0) == first && arrays(training, 1) != first)
    #expect(try arrays(training, 0, from: 7) == Array(first[7...]))
    #expect(try arrays(source.forTraining(seed: 6), 0) != first)
    #expect(training.exampleCount == 99 && first.count == training.batchCount)
    // The rows of an epoch do not overlap, and are not in the order of the text.
    var starts: [Int] = []
    for batch in try batches(training) {
      let tokens = batch.arrays[0].integers, places = batch.arrays[1].integers
      for row in 0..<batch.count where !places[row * 2..<row * 2 + 2].contains(1) {
        starts.append(tokens[row * 12 + 1])
      }
    }
    #expect(starts != starts.sorted() && Set(starts.map { ($0 - 5) % 10 }).count == 1)
    #expect(source.rows().map(\.start) == (0..<100).map { $0 * 10 })
  }

  // MARK: Neighbours

  @Test func neighboursTellByHowOftenTheyDid() {
    // 0 1 2 0 1 2 0 3 2: between 0 and 2 twice 1 and once 3.
    let table = NeighbourTable([0, 1, 2, 0, 1, 2, 0, 3, 2], vocabulary: 5)
    #expect(table.shares == [4, 3, 4, 2, 1].map { $0 / 14 })
    for (left, right) in [(0, 2), (1, 0), (4, 4), (2, 2)] as [(Int32, Int32)] {
      let found = table.probabilities(between: left, and: right)
      #expect(abs(found.reduce(0, +) - 1) < 1e-12 && found.allSatisfy { $0 > 0 })
    }
    // Three times seen, two kinds: the counts weigh 3/5. Behind 0 stood 1, 1, 3; before 2 too: 3/5 again.
    let shares = table.shares
    let behind = (0..<5).map { 0.4 * shares[$0] + 0.6 * [0, 2, 0, 1, 0][$0] / 3 }
    let product = (0..<5).map { behind[$0] * behind[$0] / shares[$0] }
    let sum = product.reduce(0, +)
    let expected = (0..<5).map { 0.4 * product[$0] / sum + 0.6 * [0, 2, 0, 1, 0][$0] / 3 }
    for (a, b) in zip(table.probabilities(between: 0, and: 2), expected) {
      #expect(abs(a - b) < 1e-12)
    }
    // Neighbours that were never seen tell nothing.
    for (a, b) in zip(table.probabilities(between: 4, and: 4), shares) {
      #expect(abs(a - b) < 1e-12)
    }
  }

  // MARK: Names

  /// Og has two letters, which is too few; the king has a capital once only.
  @Test func namesAreWordsThatAlwaysHaveACapital() {
    let verses = [
      "And Moses said unto the king, Go. Then Moses went to Beth-el, and the King slept in Beth-el.",
      "The king saw Moses; but God and God, and King Og, and king Og, were there: For the king for Og.",
    ]
    #expect(NameCloze.names(of: verses) == ["Moses", "Beth-el"])
    #expect(NameCloze.names(of: [] as [String]).isEmpty)
  }

  @Test func questionsAskForANameThatStandsBefore() throws {
    let names: Set = ["Moses", "Aaron", "Og", "Beth-el"]
    let verses = [
      "Moses saw Aaron.", "And Og of Beth-el saw Moses.",
      "Then Moses, and Moses and Dan, met Og's men.",
      "He slept.", "Dan saw Og.",
    ]
    let found = NameCloze.questions(verses[...], names: names, before: 2)
    #expect(found.map(\.answer) == ["Moses", "Og"])
    let first = try #require(found.first)
    #expect(first.passage == "Moses saw Aaron. And Og of Beth-el saw Moses.")
    #expect(first.question == "Then [MASK], and [MASK] and Dan, met Og's men.")
    #expect(first.names.map(\.text) == ["Moses", "Aaron", "Og", "Beth-el", "Moses"])
    #expect(
      first.places == [0..<5, 39..<44] && first.mostFrequent == "Moses" && first.chance == 0.25)
    let scalars = Array(first.passage.unicodeScalars)
    for name in first.names {
      #expect(name.text.unicodeScalars.elementsEqual(scalars[name.place]))
    }
    #expect(found[1].question == "Then Moses, and Moses and Dan, met [MASK]'s men.")
    // Of equally frequent names the last; and no verse has enough before it.
    let twice = NameCloze(
      passage: "", question: "", answer: "",
      names: [("a", 0), ("b", 1), ("a", 2), ("b", 3)].map {
        .init(text: $0.0, place: $0.1..<$0.1 + 1)
      })
    #expect(twice.mostFrequent == "b" && twice.chance == 0.5)
    #expect(NameCloze.questions(verses[...], names: names, before: 5).isEmpty)
    #expect(NameCloze.questions(verses[2...], names: names, before: 2).isEmpty)
  }

  // MARK: Runs

  /// Who is hidden is told by what stands around: each name has a deed and a place of its own.
  private func text() throws -> ZText {
    var random = RecipeRandom(seed: 4)
    let names = ["Moses", "Aaron", "Og", "Esau"]
    let deeds = ["smote the rock", "held the rod", "kept the hill", "sold the broth"]
    let verses = (0..<1500).map { place -> String in
      if place % 3 != 2 || place < 3 {
        let who = random.below(4)
        return "And \(names[who]) \(deeds[who]); and then \(names[(who + 1) % 4]) saw the king."
      }
      let who = random.below(4)
      return "Behold, he that \(deeds[who]) was \(names[who]), and the king saw him there."
    }
    return try ZText([verses])
  }

  @Test func hiddenTokensAreTold_andTheFolderIsReadAgain() throws {
    let text = try text()
    let recipe = try recipes.named("king-james-bert")
    var options = recipe.defaults
    let folder = text.path + "/bert"
    for (name, value) in [
      ("data", text.path), ("epochs", "60"), ("vocabulary", "320"), ("width", "32"),
      ("layers", "2"), ("batch", "8"),
      ("length", "32"), ("learning-rate", "3e-3"), ("export", folder),
    ] { try options.set(name, to: value) }
    var told = ""
    let outcome = try RecipeRun(
      recipe, options, output: text.path + "/w.safetensors", tell: { told += $0 + "\n" }
    ).start()
    let figures = Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) })
    let accuracy = try #require(figures["test masked accuracy"])
    let frequent = try #require(figures["accuracy by the most frequent token"])
    let between = try #require(figures["accuracy by both neighbours"])
    #expect(frequent < between && between < 1 && accuracy > 0.5, "\(figures)")
    let bits = try #require(figures["bits by both neighbours"])
    #expect(bits < figures["bits by single tokens"]! && figures["test bits per masked token"]! < 6)
    #expect(told.contains("It tells:\n  ") && told.contains("["))

    // What was written is the model, and its tokenizer hides words as the recipe did.
    let bert = try BERT(contentsOf: folder)
    #expect(bert.configuration.hasTokenHead && bert.configuration.width == 32)
    let tokenizer = try Tokenizer(file: folder + "/tokenizer.json")
    let encoding = try tokenizer.encode("And Moses [MASK] the rock", pair: "king")
    #expect(encoding.tokens.first == "[CLS]" && encoding.tokens.filter { $0 == "[SEP]" }.count == 2)
    let mask = try #require(tokenizer.tokenToID("[MASK]"))
    #expect(encoding.typeIDs.last == 1 && encoding.ids.count { $0 == mask } == 1)
    // The space before it is no token of its own.
    let space = try #require(tokenizer.tokenToID("\u{120}"))
    #expect(!encoding.ids.contains(space))

    // And it is where the recipe of answers begins.
    let cloze = try recipes.named("king-james-cloze")
    var asked = cloze.defaults
    for (name, value) in [
      ("data", text.path), ("model", folder), ("verses", "1"), ("length", "24"), ("epochs", "1"),
    ] { try asked.set(name, to: value) }
    let error = #expect(throws: ApusError.self) {
      try RecipeRun(cloze, asked, output: text.path + "/a.safetensors").start()
    }
    // A passage of one verse has two names: no question.
    #expect(error?.kind == .invalidFile && error?.what.contains("0 questions") == true)
  }

  @Test func namesAreFound_byATunedEncoder() throws {
    let text = try text()
    let recipe = try recipes.named("king-james-cloze")
    let folder = text.path + "/encoder"
    let verses = try KingJamesText.verses(in: text.path)
    var tokenizer = try BPETrainer(
      vocabularySize: 320, specialTokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ).train(verses.map { " " + $0 })
    try tokenizer.encloseTexts(start: "[CLS]", separator: "[SEP]")
    let bert = BERT(
      .init(
        vocabulary: 320, length: 96, width: 32, layers: 2, heads: 4, dropout: 0,
        initializerRange: 0.1,
        hasTokenHead: false))
    try bert.initialize(seed: 1)
    try bert.save(folder: folder)
    try tokenizer.save(to: folder + "/tokenizer.json")
    var options = recipe.defaults
    for (name, value) in [
      ("data", text.path), ("model", folder), ("verses", "2"), ("length", "80"), ("epochs", "6"),
      ("learning-rate", "3e-3"), ("export", text.path + "/tuned"),
    ] { try options.set(name, to: value) }
    var told = ""
    let outcome = try RecipeRun(
      recipe, options, output: text.path + "/a.safetensors", tell: { told += $0 + "\n" }
    ).start()
    let figures = Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) })
    let exact = try #require(figures["exact match"]),
      chance = try #require(figures["exact match by chance among the names"])
    #expect(chance > 0.2 && chance < 0.4 && exact > 0.6 && figures["F1"]! >= exact, "\(figures)")
    #expect(told.contains("It answers:\n") && told.contains("[MASK]") && told.contains("→"))
    let answerer = try QuestionAnswerer(folder: text.path + "/tuned")
    #expect(answerer.model.configuration.encoder.width == 32)
  }

  @Test func foldersThatAreNoEncoders_areTold() throws {
    let text = try text()
    let recipe = try recipes.named("king-james-cloze")
    var options = recipe.defaults
    try options.set("data", to: text.path)
    try options.set("model", to: text.path)
    let missing = #expect(throws: ApusError.self) {
      try RecipeRun(recipe, options, output: text.path + "/a.safetensors").start()
    }
    #expect(missing?.kind == .io && missing?.expected?.contains("pip download") == true)
    try BPETrainer(vocabularySize: 300).train(["a"]).save(to: text.path + "/tokenizer.json")
    let maskless = #expect(throws: ApusError.self) {
      try RecipeRun(recipe, options, output: text.path + "/a.safetensors").start()
    }
    #expect(maskless?.what.contains("[MASK]") == true, "\(String(describing: maskless))")
  }
}
