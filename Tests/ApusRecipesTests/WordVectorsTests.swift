// Vectors of words: what is read, what is drawn, what is counted, and that they tell like words.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

@Suite struct WordVectorsTests {
  // MARK: Text

  private func lines(_ text: String) -> [String] {
    WikiText.lines(Array("<text xml:space=\"preserve\">\(text)</text>".utf8))
      .map { $0.joined(separator: " ") }
  }

  @Test(arguments: [
    (
      "'''Anarchism''' is a [[political philosophy]], [[state|the States]]' own",
      ["anarchism is a political philosophy the states own"]
    ),
    ("a {{Use {{x|y}} z}} b\n== Title ==\nc", ["a b", "title", "c"]),
    ("a&lt;ref&gt;not this&lt;/ref&gt; b&lt;ref name=x /&gt;c &lt;!-- no --&gt;d", ["a b c d"]),
    ("a {| table {| inner |} |} b", ["a b"]),
    ("[[File:x.jpg|a [[b]] c]] d [[Category:no]]", ["d"]),
    ("x [http://a.b/c the words] https://d.e f", ["x the words f"]),
    ("caf\u{e9}\u{2013}bar &amp;nbsp;x &amp;amp; 12 y", ["caf\u{e9} bar x y"]),
    ("a {{ never ends", ["a"]), ("a [[never ends", ["a never ends"]), ("a <ref>never", ["a"]),
    ("", []),
  ])
  func articlesAreTheirWords(text: String, expected: [String]) {
    #expect(lines(text) == expected, "\(lines(text))")
  }

  @Test func everyArticleIsRead_andNothingElse() {
    let dump = "<title>No</title><text a=\"b\">one</text><sha1>no</sha1><text>two</text><text />no"
    #expect(WikiText.lines(Array(dump.utf8)) == [["one"], ["two"]])
    #expect(WikiText.lines(Array("<text>unended".utf8)) == [["unended"]])
    #expect(WikiText.lines([]).isEmpty && WikiText.lines(Array("<text".utf8)).isEmpty)
  }

  // MARK: Counts

  @Test func wordsAreNumberedByFrequency() {
    let lines = [["b", "a", "c", "a"], ["b", "a", "d"]]
    let numbers = WordNumbers(lines, most: 3, least: 1)
    #expect(numbers.words == ["a", "b", "c"] && numbers.counts == [3, 2, 1])
    #expect(numbers["d"] == nil && numbers.numbered(lines) == [[1, 0, 2, 0], [1, 0]])
    #expect(WordNumbers(lines, most: 9, least: 2).words == ["a", "b"])
  }

  @Test func neighboursAreCounted_byDistanceOrNot() {
    func rows(_ isNearer: Bool) -> [[[Double]]] {
      Cooccurrence([[0, 1, 2, 0]], words: 4, window: 2, isNearer: isNearer).rows
        .map { $0.map { [Double($0.column), $0.count] } }
    }
    #expect(rows(false) == [[[1, 2], [2, 2]], [[0, 2], [2, 1]], [[0, 2], [1, 1]], []])
    #expect(
      rows(true) == [[[1, 1.5], [2, 1.5]], [[0, 1.5], [2, 1]], [[0, 1.5], [1, 1]], []])
  }

  @Test func informationIsThatOfTheCounts() {
    let counts = Cooccurrence(
      [[0, 1], [0, 1], [0, 1], [2, 3], [0, 3]], words: 4, window: 1, isNearer: false)
    // p(2, 3) = 1/10, p(2) = 1/10, p(3) = 2/10: 5 times as often as by chance.
    let information = counts.positiveInformation
    #expect(information.rows[2].map(\.column) == [3])
    #expect(abs(information.rows[2][0].count - log(5)) < 1e-12)
    // p(0, 3) = 1/10 against 4/10 · 2/10.
    #expect(abs(information.rows[0].last!.count - log(1.25)) < 1e-12)
    #expect(abs(counts.cosine(0, 2) - 1 / 10.0.squareRoot()) < 1e-12)
    #expect(counts.cosine(0, 1) == 0 && abs(counts.cosine(1, 1) - 1) < 1e-12)
  }

  /// Values of scipy.stats.spearmanr.
  @Test func ranksCorrelate() {
    #expect(rankCorrelation([1, 2, 3, 4], [10, 20, 25, 90]) == 1)
    #expect(rankCorrelation([1, 2, 3, 4], [4, 3, 2, 1]) == -1)
    let tied = rankCorrelation([1, 2, 2, 3, 5], [2, 1, 4, 4, 3])
    #expect(abs(tied - 0.3947368421) < 1e-9, "\(tied)")
    #expect(rankCorrelation([], []) == 0 && rankCorrelation([1, 1], [1, 2]) == 0)
  }

  @Test func ratedPairsAreRead_andDamageIsTold() throws {
    let text = "# note\nLove\tsex\t6.77\r\n\ntiger\tcat\t7.35\tmore\n"
    #expect(
      try RatedPair.parse(text, path: "f") == [
        RatedPair(first: "love", second: "sex", rating: 6.77),
        RatedPair(first: "tiger", second: "cat", rating: 7.35),
      ])
    for (text, place) in [("a\tb\n", "f, line 1"), ("#\na\tb\tx\n", "f, line 2"), ("#\n", "f")] {
      let error = #expect(throws: ApusError.self) { try RatedPair.parse(text, path: "f") }
      #expect(error?.kind == .invalidFile && error?.location == place)
    }
  }

  // MARK: Pairs

  @Test func numbersAreDrawnByTheirWeights() {
    let table = AliasTable([1, 0, 2, 5])
    var random = RecipeRandom(seed: 1)
    var counts = [0, 0, 0, 0]
    for _ in 0..<80_000 { counts[table.draw(&random)] += 1 }
    for (count, expected) in zip(counts, [10_000, 0, 20_000, 50_000]) {
      #expect(abs(count - expected) <= 500, "\(counts)")
    }
    #expect(AliasTable([0]).draw(&random) == 0)
  }

  @Test func pairsAreNeighbours_anotherDrawEachEpoch_theSameEachTime() throws {
    // Lines of words that follow each other: a neighbour is at most two away.
    let lines = (0..<30).map { line in (0..<20).map { line * 20 + $0 } }
    let source = SkipGramPairs(
      lines, counts: [Int](repeating: 1, count: 600), window: 2, negatives: 3, batch: 64, seed: 0)
    #expect((20...28).contains(source.batchCount) && source.exampleCount == 64 * source.batchCount)
    func read(_ source: any BatchSource, _ epoch: Int, from: Int = 0) throws -> [[Int]] {
      let iterator = try source.makeIterator(epoch: epoch, startingAt: from)
      var found: [[Int]] = []
      while let batch = try iterator.next() {
        #expect(batch.names == ["words", "neighbours"] && batch.arrays[1].shape == [64, 4])
        let (words, others) = (batch.arrays[0].integers, batch.arrays[1].integers)
        for (place, word) in words.enumerated() {
          let away = abs(word - others[4 * place])
          #expect(away >= 1 && away <= 2 && word / 20 == others[4 * place] / 20)
        }
        found.append(words + others)
      }
      return found
    }
    let first = try read(source, 0)
    #expect(first.count == source.batchCount)
    #expect(try read(source, 0) == first && read(source, 1) != first)
    #expect(try read(source, 0, from: 5) == Array(first[5...]))
    #expect(try read(source.forTraining(seed: 9), 0) != first)
  }

  @Test func frequentWordsAreThinnedOut() {
    // 0 is half of the text: kept with √(t/f) + t/f, about one in twenty for t = 0.001.
    let lines = (0..<200).map { line in (0..<20).map { $0 % 2 == 0 ? 0 : 1 + (line * 20 + $0) % 50 }
    }
    func pairs(_ threshold: Double) -> Int {
      var counts = [Int](repeating: 0, count: 51)
      for word in lines.joined() { counts[word] += 1 }
      return SkipGramPairs(
        lines, counts: counts, window: 1, negatives: 1, batch: 1, threshold: threshold, seed: 0
      ).batchCount
    }
    #expect(pairs(1) == 200 * 19 * 2)
    #expect(pairs(1e-3) < 200 * 19)
  }

  /// GloVe's counts are of a text that is thinned out once, the same each time.
  @Test func frequentWordsAreThinnedOut_beforeTheyAreCounted() throws {
    let folder = try RecipeFolder()
    defer { folder.remove() }
    try write(to: folder)
    let recipe = WordVectorsRecipe()
    func examples(_ sample: String, seed: String = "0") throws -> (Int, String) {
      var options = recipe.defaults
      for (name, value) in [
        ("data", folder.path), ("method", "glove"), ("sample", sample), ("seed", seed),
        ("window", "2"),
      ] { try options.set(name, to: value) }
      let data = try recipe.data(options)
      let batch = try data.training.makeIterator(epoch: 0).next()
      let logs = try #require(batch?.logs).floats.map { "\($0)" }.joined(separator: " ")
      return (data.training.exampleCount + data.validation.exampleCount, logs)
    }
    let all = try examples("1"), some = try examples("1e-3")
    #expect(some.0 < all.0 && some.0 > all.0 / 10, "\(some.0) of \(all.0)")
    #expect(try examples("1e-3").1 == some.1 && examples("1e-3", seed: "1").1 != some.1)
    #expect(try examples("1", seed: "1").1 == all.1)
  }

  // MARK: Runs

  /// Words of two kinds, and marks of a kind that stand beside its words seven times of eight: words of one kind are alike,
  /// though they never stand together.
  private func write(to folder: RecipeFolder) throws {
    var random = RecipeRandom(seed: 6)
    func name(_ kind: Int, _ number: Int) -> String {
      "\(["k", "m"][kind])" + String(UnicodeScalar(UInt8(97 + number)))
    }
    let articles = (0..<1200).map { _ -> String in
      let kind = random.below(2)
      let other = random.below(8) == 0 ? 1 - kind : kind
      let mark = "\(["red", "blue"][other])" + String(UnicodeScalar(UInt8(97 + random.below(4))))
      return "\(mark) \(name(kind, random.below(8))) \(mark)"
    }
    try folder.write(
      "<text>\(articles.joined(separator: "\n"))</text>",
      "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened")
    let pairs = (0..<8).flatMap { a in
      (0..<8).filter { $0 != a }.map { b in
        "\(name(0, a))\t\(name(a % 2, b))\t\(a % 2 == 0 ? 9 : 1)\n"
      }
    }
    try folder.write("# pairs\n" + pairs.joined(), "wordsim353.tsv")
    try folder.write("# pairs\n" + pairs.reversed().joined(), "simlex999.txt")
  }

  @Test(arguments: ["skip-gram", "glove"])
  func wordsOfAKindAreAlike(method: String) throws {
    let folder = try RecipeFolder()
    defer { folder.remove() }
    try write(to: folder)
    let (figures, told) = try folder.run(
      "word-vectors",
      [
        "method": method, "epochs": method == "glove" ? "200" : "10", "batch": "32", "width": "8",
        "words": "40", "learning-rate": "0.02", "window": "2", "sample": "1",
      ])
    #expect(figures["wordsim353 pairs in the vocabulary"] == 56)
    // Ratings have two values: 0.866 is the best without ties.
    #expect(try #require(figures["wordsim353 rank correlation"]) > 0.8, "\(figures)")
    #expect(
      abs(figures["simlex999 rank correlation"]! - figures["wordsim353 rank correlation"]!) < 1e-9)
    #expect(told.contains("Nearest:\n"))
  }

  @Test func articlesThatArePacked_areToldWithTheCommand() throws {
    let folder = try RecipeFolder()
    defer { folder.remove() }
    let file = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened"
    try folder.write("BZh", file + ".bz2")
    let error = #expect(throws: ApusError.self) { try folder.run("word-vectors", [:]) }
    #expect(error?.kind == .io && error?.expected?.contains("'bunzip2 ") == true)
    try folder.write("<text></text>", file)
    try folder.write("a\tb\t1\n", "wordsim353.tsv")
    try folder.write("a\tb\t1\n", "simlex999.txt")
    let empty = #expect(throws: ApusError.self) { try folder.run("word-vectors", [:]) }
    #expect(empty?.kind == .invalidFile && empty?.what.contains("0 words") == true)
  }
}
