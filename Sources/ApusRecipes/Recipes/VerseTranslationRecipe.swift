// verse-translation: the King James Bible in the Spanish of 1909.

import Apus
import ApusText
import Foundation

/// An encoder–decoder transformer that translates verses from English to Spanish.
struct VerseTranslationRecipe: TextPairRecipe {
  static let lengths = [16, 24, 32, 40, 56, 80, 160]
  static let targetLength = 160
  static let copiesSource = false
  static let labelSmoothing = 0.1
  private static let place = "/usr/share/sword/modules/texts/ztext"

  let name = "verse-translation"
  let summary = "a transformer translates verses from English"
  let discussion = """
    The King James Bible and the Reina-Valera of 1909 (both in the public domain) have the same verses at the same places. An \
    encoder–decoder transformer learns one from the other, by pieces of words; each twentieth chapter is held out. Passages \
    that the Bible has twice, as in Kings and Chronicles, are thereby learnt in part. It is judged by chrF and BLEU, \
    beside the English as it stands and a table of words (IBM model 1). The texts are in the Debian packages \
    sword-text-kjv and sword-text-sparv; --data or APUS_SWORD_TEXTS name another folder.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 5), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data,
    TextPairOption.vocabulary, TextPairOption.width, TextPairOption.layers, TextPairOption.dropout,
    TextPairOption.warmUp,
  ]
  let metric = RecipeMetric("perplexity", goal: .smaller)
  var quickSteps: Int { 25 }

  func texts(_ options: RecipeOptions) throws -> PairedTexts {
    let variable = ProcessInfo.processInfo.environment["APUS_SWORD_TEXTS"] ?? ""
    return try BibleVerses.read(
      in: options.data ?? (variable.isEmpty ? Self.place : variable))
  }

  func judge(
    _ model: EncoderDecoderTransformer, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let pairs = try NumberedPairs<Self>(texts(run.options), run.options)
    try pairs.save(run)
    let every = run.isQuick ? 40 : 1
    func some(_ pairs: [TextPair]) -> [TextPair] {
      stride(from: 0, to: pairs.count, by: every).map { pairs[$0] }
    }
    let test = some(pairs.texts.test)
    let sources = test.map(\.source)
    let greedy = try pairs.written(model, for: sources, run: run)
    let searched = try pairs.written(model, for: sources, beams: BeamSearch(width: 4), run: run)
    let table = WordTranslations(some(pairs.texts.training))
    let counted = sources.map(table.translated)
    run.tell(samples(test, greedy, searched, counted))
    return figures("greedy", greedy, test) + figures("beams of 4", searched, test)
      + figures("a table of words", counted, test) + figures("the source", sources, test)
  }

  private func figures(
    _ way: String, _ texts: [String], _ pairs: [TextPair]
  ) -> [RecipeOutcome.Figure] {
    var (chrF, bleu) = (ChrF(), BLEU())
    for (text, pair) in zip(texts, pairs) {
      chrF.add(text, reference: pair.target)
      bleu.add(text, reference: pair.target)
    }
    return [
      RecipeOutcome.Figure("chrF by \(way)", chrF.value ?? .nan),
      RecipeOutcome.Figure("BLEU by \(way)", bleu.value ?? .nan),
    ]
  }

  private func samples(
    _ pairs: [TextPair], _ greedy: [String], _ searched: [String], _ counted: [String]
  ) -> String {
    // Spread over the whole, so that they are of all books.
    let places = stride(from: pairs.count / 10, to: pairs.count, by: max(pairs.count / 5, 1))
    return "It translates:"
      + places.map {
        """

          \(pairs[$0].source)
            greedy:  \(greedy[$0])
            beams:   \(searched[$0])
            table:   \(counted[$0])
            1909:    \(pairs[$0].target)
        """
      }.joined()
  }
}

/// The verses of two Bibles of one versification, side by side.
enum BibleVerses {
  static let source = "engKJV2006eb"
  static let target = "spaRV1909eb"
  /// Each so manieth chapter is held out.
  static let held = 20

  /// - Throws: `io` where a text is not there, `invalidFile` where one is damaged or they do not go together.
  static func read(in folder: String) throws -> PairedTexts {
    let (source, target) = (
      try entries(folder, Self.source, "sword-text-kjv"),
      try entries(folder, Self.target, "sword-text-sparv")
    )
    guard source.count == target.count else {
      throw ApusError(
        .invalidFile, "the texts have \(source.count) and \(target.count) entries", at: folder,
        expected: "two texts of one versification")
    }
    return split(source, target)
  }

  /// Verses that both texts have; headings, which are empty, stand before each chapter.
  static func split(_ source: [String], _ target: [String]) -> PairedTexts {
    var texts = PairedTexts(training: [], test: [])
    var (chapter, isWithin) = (0, false)
    for (english, spanish) in zip(source, target) {
      if english.isEmpty {
        chapter += isWithin ? 1 : 0
        isWithin = false
        continue
      }
      isWithin = true
      let pair = TextPair(source: plain(english), target: plain(spanish))
      if pair.source.isEmpty || pair.target.isEmpty { continue }
      if chapter % held == held / 2 { texts.test.append(pair) } else { texts.training.append(pair) }
    }
    return texts
  }

  /// Without the mark of a paragraph.
  private static func plain(_ verse: String) -> String {
    verse.hasPrefix("¶") ? String(verse.dropFirst().drop { $0 == " " }) : verse
  }

  private static func entries(
    _ folder: String, _ module: String, _ package: String
  ) throws -> [String] {
    let path = "\(folder)/\(module)"
    guard FileManager.default.fileExists(atPath: path + "/ot.bzz") else {
      throw ApusError(
        .io, "a Bible is not there: no file ot.bzz", at: path,
        expected: "the Debian package \(package) ('apt install \(package)'), or --data, or "
          + "APUS_SWORD_TEXTS, naming the folder of \(module)")
    }
    return try SwordText(contentsOf: path).entries
  }
}
