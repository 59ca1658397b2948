// turkish-tags: the part of speech of each word, read in both directions.

import Apus
import Foundation

/// A bidirectional LSTM of two layers that gives each word of a sentence its part of speech.
struct TaggingRecipe: SupervisedRecipe {
  static let units = RecipeOption(
    "units", default: 128, .between(1, 1024), "Units of each layer in each direction.")
  static let width = RecipeOption(
    "width", default: 128, .between(1, 1024), "Of the words' vectors.")
  /// Words of the longest sentence.
  static let length = 88
  static let tags = 14
  /// Of words, beginnings and ends that stand in the text more than once.
  static let features = 40_000
  private static let ignored = -100
  private static let place = "data"
  private static let files = ["web.conllu", "wiki.conllu"]

  let name = "turkish-tags"
  let summary = "an LSTM from both ends tags the words of Turkish"
  let discussion = """
    A bidirectional LSTM of two layers tells the parts of speech of Turkish: 4,851 sentences of the web and of Wikipedia, \
    each tenth held out. Beside it stands what each word's most frequent tag gets right. The Turkish Web Treebank (Google, \
    Apache-2.0) is in the Python package turkish-treebanks 1.0.0: 'pip download --no-deps turkish-treebanks==1.0.0' and \
    unzip it here, or name its folder data by --data or APUS_TURKISH_TREEBANKS.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 12), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 1e-2), CommonOption.seed, CommonOption.data, units,
    width,
  ]
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

  func model(_ options: RecipeOptions) -> Tagger {
    Tagger(
      features: Self.features, width: options[Self.width], units: options[Self.units],
      tags: Self.tags)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    let rate = options.learningRate
    return AdamW(
      learningRate: stepsPerEpoch.map { .linear(from: rate, to: 0, steps: options.epochs * $0) }
        ?? .constant(rate),
      weightDecay: 1e-2)
  }

  /// What is judged is an average of the weights over about the last sixteenth of the steps, a hundred of the usual run.
  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    var update = RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch), clipNorm: 1)
    update.movingAverage = stepsPerEpoch.map { 1 - 1 / (1 + Double(options.epochs * $0) / 16) }
    return update
  }

  func loss(_ model: Tagger, _ batch: SymbolicBatch) -> Tensor {
    let scores = model(batch.words, lengths: batch.lengths)
    batch.report("accuracy", accuracy(scores, batch.tags, ignoring: Self.ignored))
    return crossEntropy(scores, batch.tags)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField(
        "words", [options.batch, Self.length, WordFeatures.perWord],
        .integers(below: Self.features)),
      RandomField("lengths", [options.batch], .lengths(upTo: Self.length)),
      RandomField("tags", [options.batch, Self.length], .integers(below: Self.tags)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let (training, test) = try sentences(options)
    let features = WordFeatures(training)
    guard features.count <= Self.features else {
      throw ApusError(
        .invalidFile, "the text has \(features.count) features of words", at: folder(options),
        expected: "at most \(Self.features)")
    }
    let tags = (training + test).flatMap(\.tags).reduce(into: [String]()) {
      if !$0.contains($1) { $0.append($1) }
    }
    guard tags.count <= Self.tags else {
      throw ApusError(
        .invalidFile, "the text has \(tags.count) tags", at: folder(options),
        expected: "at most \(Self.tags)")
    }
    return RecipeData(
      training: try arrays(training, features, tags).batched(options.batch),
      validation: try arrays(test, features, tags).batched(97))
  }

  /// What counting would get right.
  func judge(
    _ model: Tagger, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let (training, test) = try sentences(run.options)
    return [
      RecipeOutcome.Figure(
        "accuracy by each word's most frequent tag", Self.counted(training, test), isFraction: true)
    ]
  }

  /// The fraction of words that have the tag which they have most often in another text; a word that is not there is
  /// taken for what most words are.
  static func counted(_ training: [TaggedSentence], _ test: [TaggedSentence]) -> Double {
    var all: [String: Int] = [:]
    var each: [String: [String: Int]] = [:]
    for (word, tag) in training.flatMap({ zip($0.words, $0.tags) }) {
      all[tag, default: 0] += 1
      each[word, default: [:]][tag, default: 0] += 1
    }
    // Of equally frequent ones the first by name, so that the figure is one.
    func best(_ counts: [String: Int]) -> String? {
      counts.max { $0.value < $1.value || $0.value == $1.value && $0.key > $1.key }?.key
    }
    let usual = best(all)
    let most = each.compactMapValues(best)
    let pairs = test.flatMap { zip($0.words, $0.tags) }
    return Double(pairs.count { (most[$0] ?? usual) == $1 }) / Double(max(pairs.count, 1))
  }

  private func folder(_ options: RecipeOptions) -> String {
    let variable = ProcessInfo.processInfo.environment["APUS_TURKISH_TREEBANKS"] ?? ""
    return options.data ?? (variable.isEmpty ? Self.place : variable)
  }

  /// Nine sentences of ten, and the tenth.
  private func sentences(
    _ options: RecipeOptions
  ) throws -> (training: [TaggedSentence], test: [TaggedSentence]) {
    let folder = folder(options)
    let all = try Self.files.flatMap { file in
      guard FileManager.default.fileExists(atPath: "\(folder)/\(file)") else {
        throw ApusError(
          .io, "the Turkish treebanks are not there: no file \(file)", at: folder,
          expected: "the folder data of the Python package turkish-treebanks: 'pip download "
            + "--no-deps turkish-treebanks==1.0.0' and unzip it here, or --data, or "
            + "APUS_TURKISH_TREEBANKS")
      }
      return try TaggedText.read("\(folder)/\(file)")
    }
    if let long = all.firstIndex(where: { $0.words.count > Self.length }) {
      throw ApusError(
        .invalidFile, "sentence \(long + 1) has \(all[long].words.count) words", at: folder,
        expected: "at most \(Self.length)")
    }
    guard all.count >= 10 else {
      throw ApusError(
        .invalidFile, "\(all.count) sentences", at: folder, expected: "at least ten")
    }
    let numbered = all.enumerated()
    return (
      numbered.filter { $0.offset % 10 != 9 }.map(\.element),
      numbered.filter { $0.offset % 10 == 9 }.map(\.element)
    )
  }

  private func arrays(
    _ sentences: [TaggedSentence], _ features: WordFeatures, _ tags: [String]
  ) throws -> ArrayDataset {
    let count = sentences.count
    let places = Dictionary(uniqueKeysWithValues: tags.enumerated().map { ($1, Int32($0)) })
    var words: [Int32] = [], numbers: [Int32] = []
    for sentence in sentences {
      let rest = Self.length - sentence.words.count
      words += sentence.words.flatMap { features[$0] }
      words += [Int32](repeating: 0, count: rest * WordFeatures.perWord)
      numbers += sentence.tags.map { places[$0]! }
      numbers += [Int32](repeating: Int32(Self.ignored), count: rest)
    }
    return try ArrayDataset([
      "words": NDArray(checking: words, shape: [count, Self.length, WordFeatures.perWord]),
      "lengths": NDArray(checking: sentences.map { Int32($0.words.count) }, shape: [count]),
      "tags": NDArray(checking: numbers, shape: [count, Self.length]),
    ])
  }
}

/// A word is the sum of its features' vectors; an LSTM of two layers reads the sentence from both ends:
/// `i32[n, length, features]` and the length of each → `[n, length, tags]` logits.
struct Tagger: Module {
  let features: Embedding
  let drop = Dropout(0.3)
  let forget = Dropout(0.1)
  let lstm: LSTM
  let output: Linear

  init(features: Int, width: Int, units: Int, tags: Int) {
    self.features = Embedding(features, width)
    lstm = LSTM(width, units, layers: 2, isBidirectional: true, dropout: 0.3)
    output = Linear(2 * units, tags)
  }

  func callAsFunction(_ words: Tensor, lengths: Tensor) -> Tensor {
    // Whole features are left out at random, so that the network learns to do without the word itself.
    let known = forget(Tensor.ones(Shape(words.shape.dimensions + [1])))
    let vectors = drop((features(words) * known).sum(axis: 2))
    return output(drop(lstm(vectors, lengths: lengths).outputs))
  }
}
