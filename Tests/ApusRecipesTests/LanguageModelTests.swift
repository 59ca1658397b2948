// Counting and pieces of text: Kneser-Ney against its definition, and the recipes that are put beside it.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

@Suite struct LanguageModelTests {
  // MARK: Kneser–Ney

  private static let short = [0, 1, 2, 0, 1, 3, 0, 1, 2, 2]
  private static let long = (0..<400).map { ($0 * $0 * 7 + $0 / 3) % 11 % (3 + $0 % 4) }

  private func check(_ model: KneserNey, _ context: [Int], _ expected: [Double]) {
    let found = expected.indices.map { model.probability(of: $0, after: context) }
    for (own, other) in zip(found, expected) {
      #expect(abs(own - other) < 1e-9, "\(context): \(found)")
    }
    #expect(abs(found.reduce(0, +) - 1) < 1e-12)
  }

  /// By hand: the four tokens have 3, 1, 2 and 1 of the seven different pairs' ends, each stands for itself; ½, 1 and 1½ are
  /// taken.
  @Test func singleTokensCountByWhatStandsBeforeThem() {
    let model = KneserNey(Self.short, order: 2, vocabulary: 5)
    // 0 begins the text and stands behind 2 and 3; 1 behind 0; 2 behind 1 and 2; 3 behind 1.
    let kept: [Double] = [3 - 1.5, 1 - 0.5, 2 - 1, 1 - 0.5, 0]
    let left: Double = (1.5 + 0.5 + 1 + 0.5) / 7
    check(model, [], kept.map { $0 / 7 + left / 5 })
  }

  /// Values of Tests/reference/kneser_ney.py.
  @Test func probabilitiesAreThoseOfTheDefinition() {
    let short = KneserNey(Self.short, order: 3, vocabulary: 5)
    check(short, [], [0.3142857143, 0.1714285714, 0.2428571429, 0.1714285714, 0.1])
    check(short, [0], [0.1571428571, 0.5857142857, 0.1214285714, 0.0857142857, 0.05])
    check(short, [2, 0, 1], [0.0785714286, 0.0428571429, 0.519047619, 0.3345238095, 0.025])
    check(short, [4, 4], [0.3142857143, 0.1714285714, 0.2428571429, 0.1714285714, 0.1])
    #expect(abs(short.bits(of: [3, 0, 1, 2, 3, 3, 0, 1, 4]) - 18.7821272594) < 1e-9)
    let long = KneserNey(Self.long, order: 4, vocabulary: 7)
    check(
      long, [0, 1],
      [
        0.2974919743, 0.2340088283, 0.1440743713, 0.1705256822, 0.1176230605, 0.0234283039,
        0.0128477796,
      ])
    check(
      long, [1, 1, 1, 1],
      [
        0.8563943954, 0.055822298, 0.0393224541, 0.0258962681, 0.0152954566, 0.0046946451,
        0.0025744828,
      ])
    #expect(abs(long.bits(of: [0, 1, 4, 1, 3, 3, 0, 1, 6]) - 29.0492686666) < 1e-8)
  }

  @Test func aTextOfNoTokens_tellsNothing() {
    let model = KneserNey([], order: 5, vocabulary: 4)
    #expect(model.probability(of: 3, after: [1, 2]) == 0.25)
    #expect(model.bits(of: [0, 1, 2]) == 6)
    #expect(KneserNey([1], order: 1, vocabulary: 2).bits(of: []) == 0)
  }

  // MARK: Words

  @Test func piecesAreTheTextAgain_andTheFrequentOnesHaveNumbers() {
    let text = "And God said, Let there be light: and there was light.\nGod's own  light, God's.\n"
    let cut = WordPieces.cut(text)
    #expect(cut.joined() == text)
    #expect(cut.prefix(5) == ["And", " God", " said", ",", " Let"])
    #expect(cut.contains("God's") && cut.contains(" God's") && cut.contains(" "))
    let pieces = WordPieces(text, count: 4)
    #expect(pieces.pieces.count == 4 && pieces.pieces[1] == " light")
    let tokens = pieces.tokens(" light said.")
    #expect(tokens[0] == 1 && tokens[1] == WordPieces.unknown)
    #expect(pieces.text([1, 99]) == " light?")
    // A word once in the text has no number, however many there are.
    #expect(WordPieces(text, count: 1000).pieces.allSatisfy { $0 != " said" })
  }

  @Test func unknownWordsAreSpelledByTheRareOnes() {
    let text = "aa aa aa babab cabab dabab\n"
    let pieces = WordPieces(text, count: 2)
    #expect(pieces.pieces == ["<unknown>", " aa"])
    let known = pieces.bitsToSpellUnknown(in: " aa aa")
    let like = pieces.bitsToSpellUnknown(in: " eabab"),
      unlike = pieces.bitsToSpellUnknown(in: " xyzzy")
    #expect(known == 0 && like > 0 && like < unlike)
  }

  @Test func drawsDependOnTheSeedAlone() {
    func draws(_ seed: UInt64, _ stream: UInt64 = 0) -> [Int] {
      var random = RecipeRandom(seed: seed, stream: stream)
      return (0..<200).map { _ in random.draw([0, log(3), -.infinity], temperature: 1) { $0 < 3 } }
    }
    #expect(draws(1) == draws(1) && draws(1) != draws(2) && draws(1) != draws(1, 1))
    let ones = draws(5).count { $0 == 1 }
    #expect((120...180).contains(ones) && !draws(5).contains(2))
    var random = RecipeRandom(seed: 3)
    let below = (0..<1000).map { _ in random.below(7) }
    #expect(Set(below) == Set(0..<7))
    #expect(random.draw([1, 2], temperature: 1) { $0 == 0 } == 0)
  }

  // MARK: Tunes

  private static let abc = """
    % a comment
    T: before the first

    X: 1
    T: The  Fox
    N: not this
    M:6/8
    K:G
    D|GAB   c2d|e>fg :|
    % nor this

    X:2
    T:The Hen
    K: Dm
    AB  cd\r
    """

  @Test func tunesAreTheirFieldsAndNotes() {
    #expect(
      ABCTunes.parse(Self.abc) == [
        "T:The Fox\nM:6/8\nK:G\nD|GAB c2d|e>fg :|\n", "T:The Hen\nK:Dm\nAB cd\n",
      ])
    #expect(ABCTunes.parse("X:\n\nX:1\n").isEmpty)
  }
}
