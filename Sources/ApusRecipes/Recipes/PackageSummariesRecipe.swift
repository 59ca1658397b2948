// package-summaries: what a package is, in one line.

import Apus
import ApusText
import Foundation

/// An encoder–decoder transformer that can copy, which sums up descriptions of Debian's packages.
struct PackageSummariesRecipe: TextPairRecipe {
  static let pairs = RecipeOption(
    "pairs", default: 30_000, .between(1, 1 << 24), "The most descriptions that are learnt.")
  static let lengths = [32, 48, 64, 96, 128]
  static let targetLength = 32
  static let copiesSource = true
  /// Copies are certain of few tokens.
  static let labelSmoothing = 0.0
  private static let file = "packages.txt"

  let name = "package-summaries"
  let summary = "a transformer sums up packages' descriptions"
  let discussion = """
    Every package of Debian has a description of some paragraphs and one of a line. A transformer that writes words or copies \
    them from the text learns the second from the first. Packages that are alike (by the stem of their names or by the \
    beginning of their texts) stay on one side; a twentieth of the kinds is held out. It is judged by ROUGE, beside the \
    first words of the text, as many as are best for what is learnt. Descriptions have the packages' licences. apt has \
    them ('apt-get -o Acquire::Languages=en update'); '/usr/lib/apt/apt-helper cat-file \
    /var/lib/apt/lists/*_bookworm_main_i18n_Translation-en* > packages.txt' writes them down. --data or \
    APUS_PACKAGE_DESCRIPTIONS name the folder of that file; without them it is looked for where the command runs.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 5), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, pairs,
    TextPairOption.vocabulary, TextPairOption.width, TextPairOption.layers.with(default: 2),
    TextPairOption.dropout, TextPairOption.warmUp,
  ]
  let metric = RecipeMetric("perplexity", goal: .smaller)
  var quickSteps: Int { 20 }

  func texts(_ options: RecipeOptions) throws -> PairedTexts {
    let variable = ProcessInfo.processInfo.environment["APUS_PACKAGE_DESCRIPTIONS"] ?? ""
    let folder = options.data ?? (variable.isEmpty ? "." : variable)
    let path = "\(folder)/\(Self.file)"
    guard FileManager.default.fileExists(atPath: path) else {
      throw ApusError(
        .io, "descriptions of packages are not there: no file \(Self.file)", at: folder,
        expected: "apt's index, which '/usr/lib/apt/apt-helper cat-file "
          + "/var/lib/apt/lists/*_main_i18n_Translation-en* > \(Self.file)' writes down, or --data, "
          + "or APUS_PACKAGE_DESCRIPTIONS")
    }
    let texts = PackageDescriptions.split(
      try PackageDescriptions.read(path), most: options[Self.pairs])
    guard !texts.training.isEmpty, !texts.test.isEmpty else {
      throw ApusError(
        .invalidFile,
        "there are \(texts.training.count) descriptions to learn from and "
          + "\(texts.test.count) to be judged by", at: path, expected: "some of both")
    }
    return texts
  }

  func judge(
    _ model: EncoderDecoderTransformer, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let pairs = try NumberedPairs<Self>(texts(run.options), run.options)
    try pairs.save(run)
    let every = run.isQuick ? 40 : 1
    let test = stride(from: 0, to: pairs.texts.test.count, by: every).map { pairs.texts.test[$0] }
    let sources = test.map(\.source)
    let greedy = try pairs.written(model, for: sources, run: run)
    let searched = try pairs.written(model, for: sources, beams: BeamSearch(width: 4), run: run)
    let count = Self.bestLead(pairs.texts.training)
    let leads = sources.map { Self.lead($0, count) }
    run.tell(samples(test, greedy, searched))
    return figures("greedy", greedy, test) + figures("beams of 4", searched, test)
      + figures("the first \(count) words", leads, test)
  }

  private func figures(
    _ way: String, _ texts: [String], _ pairs: [TextPair]
  ) -> [RecipeOutcome.Figure] {
    var rouge = ROUGE()
    for (text, pair) in zip(texts, pairs) { rouge.add(text, reference: pair.target) }
    return [("ROUGE-1", rouge.rouge1), ("ROUGE-2", rouge.rouge2), ("ROUGE-L", rouge.rougeL)].map {
      RecipeOutcome.Figure("\($0.0) by \(way)", $0.1?.f1 ?? .nan)
    }
  }

  static func lead(_ text: String, _ count: Int) -> String {
    text.split(separator: " ").prefix(count).joined(separator: " ")
  }

  /// How many of the first words are the best summary, by ROUGE-1 of what is learnt.
  static func bestLead(_ pairs: [TextPair]) -> Int {
    // Some thousand tell.
    let some = stride(from: 0, to: pairs.count, by: max(pairs.count / 2000, 1)).map { pairs[$0] }
    func score(_ count: Int) -> Double {
      var rouge = ROUGE()
      for pair in some { rouge.add(lead(pair.source, count), reference: pair.target) }
      return rouge.rouge1?.f1 ?? 0
    }
    return (4...20).map { (count: $0, score: score($0)) }.max { $0.score < $1.score }!.count
  }

  private func samples(_ pairs: [TextPair], _ greedy: [String], _ searched: [String]) -> String {
    let places = stride(from: pairs.count / 12, to: pairs.count, by: max(pairs.count / 6, 1))
    return "It sums up:"
      + places.map {
        """

          \(Self.lead(pairs[$0].source, 40)) …
            greedy:   \(greedy[$0])
            beams:    \(searched[$0])
            package:  \(pairs[$0].target)
        """
      }.joined()
  }
}
