// Scores of texts are those of sacrebleu and rouge-score: Tests/reference/text_scores.py has made the file.

import ApusGraph
import ApusText
import Foundation
import Testing

@Suite struct TextScoreTests {
  private struct Expected: Decodable {
    var text: String?, references: [String]?
    var chrf: Double, chrfpp: Double, bleu: Double
    var rouge1: [Double], rouge2: [Double], rougeL: [Double]
  }
  private struct Vectors: Decodable {
    var cases: [Expected], all: Expected
  }

  private struct Scores {
    var chrF = ChrF(), chrFPlusPlus = ChrF(wordOrder: 2), bleu = BLEU(), rouge = ROUGE()

    mutating func add(_ text: String, _ references: [String]) throws {
      try chrF.add(text, references: references)
      try chrFPlusPlus.add(text, references: references)
      try bleu.add(text, references: references)
      try rouge.add(text, references: references)
    }

    func expect(_ expected: Expected, _ what: String) throws {
      func check(_ found: Double?, _ value: Double, _ name: String) throws {
        let found = try #require(found)
        #expect(abs(found - value) <= 1e-9 * max(1, value), "\(name) of \(what)")
      }
      try check(chrF.value, expected.chrf, "chrF")
      try check(chrFPlusPlus.value, expected.chrfpp, "chrF++")
      try check(bleu.value, expected.bleu, "BLEU")
      for (score, values, name) in [
        (rouge.rouge1, expected.rouge1, "ROUGE-1"), (rouge.rouge2, expected.rouge2, "ROUGE-2"),
        (rouge.rougeL, expected.rougeL, "ROUGE-L"),
      ] {
        let found = [score?.precision, score?.recall, score?.f1]
        for (a, b) in zip(found, values) { try check(a, b, name) }
      }
    }
  }

  private func vectors() throws -> Vectors {
    let url = URL(fileURLWithPath: Fixture.path("text-scores.json"))
    return try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: url))
  }

  @Test func eachTextsScores_areSacrebleusAndRougeScores() throws {
    let cases = try vectors().cases
    #expect(cases.count == 28)
    for expected in cases {
      var scores = Scores()
      try scores.add(#require(expected.text), #require(expected.references))
      try scores.expect(expected, "'\(expected.text!)'")
    }
  }

  @Test func scoresOfAllTexts_areSacrebleusAndRougeScores() throws {
    let vectors = try vectors()
    var scores = Scores()
    for example in vectors.cases { try scores.add(example.text!, example.references!) }
    try scores.expect(vectors.all, "all")
    #expect(scores.chrF.total == 28 && scores.bleu.total == 28 && scores.rouge.total == 28)
  }

  @Test func whatIsEqual_isPerfect_andNothingIsNoScore() {
    var (chrF, bleu, rouge) = (ChrF(), BLEU(), ROUGE())
    #expect(chrF.value == nil && bleu.value == nil && rouge.rouge1 == nil && rouge.rougeL == nil)
    let text = "En el principio crió Dios los cielos y la tierra."
    chrF.add(text, reference: text)
    bleu.add(text, reference: text)
    rouge.add(text, reference: text)
    #expect(abs(chrF.value! - 100) < 1e-9 && abs(bleu.value! - 100) < 1e-9)
    #expect(rouge.rouge1!.f1 == 1 && rouge.rouge2!.f1 == 1 && rouge.rougeL!.f1 == 1)
  }

  @Test func mistakes_areTold_andChangeNothing() {
    var (chrF, bleu, rouge) = (ChrF(), BLEU(), ROUGE())
    #expect(throws: ApusError.self) { try chrF.add("a", references: []) }
    #expect(throws: ApusError.self) { try bleu.add("a", references: []) }
    #expect(throws: ApusError.self) { try rouge.add("a", references: []) }
    #expect(chrF.total == 0 && bleu.total == 0 && rouge.total == 0)
    for (characters, words, beta) in [(0, -1, 0.0), (.max, .max, .nan), (.min, .min, -1)] {
      var extreme = ChrF(characterOrder: characters, wordOrder: words, beta: beta)
      extreme.add("ab", reference: "ab")
      #expect(extreme.value.map { abs($0 - 100) < 1e-9 } == true)
    }
  }
}
