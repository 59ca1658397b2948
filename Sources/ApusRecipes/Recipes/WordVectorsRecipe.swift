// word-vectors: vectors of words, by which words are alike.

import Apus
import Foundation

/// Skip-gram with negative sampling, or GloVe, on articles of Wikipedia.
struct WordVectorsRecipe: SupervisedRecipe {
  static let method = RecipeOption(
    "method", default: "skip-gram", .oneOf("skip-gram", "glove"), "How vectors are learnt.")
  static let width = RecipeOption("width", default: 100, .between(1, 4096), "Of the vectors.")
  static let window = RecipeOption(
    "window", default: 5, .between(1, 100), "How far a neighbour may stand on either side.")
  static let negatives = RecipeOption(
    "negatives", default: 5, .between(1, 100), "Words that are no neighbours, for each that is one."
  )
  static let sample = RecipeOption(
    "sample", default: 1e-3, .positive,
    "Words that are a larger share of the text are thinned out.")
  static let fullCount = RecipeOption(
    "full-count", default: 1, .positive, "GloVe's: counts from here on weigh one, lower ones less."
  )
  static let words = RecipeOption(
    "words", default: 10_000, .between(2, 1 << 20), "The most words that have vectors.")
  /// How often a word stands in the text to get a vector.
  static let least = 5
  private static let place = "gensim/test/test_data"
  private static let file = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened"
  private static let ratings = ["wordsim353.tsv", "simlex999.txt"]

  let name = "word-vectors"
  let summary = "vectors of words, by skip-gram or GloVe"
  let discussion = """
    Vectors of words from 206 articles of Wikipedia, half a million words, by skip-gram with negative sampling or by GloVe \
    (--method). They are judged by people's ratings of how alike two words are, WordSim-353 and SimLex-999: the rank \
    correlation of ratings and cosines, beside that of raw counts of neighbours and of their positive pointwise mutual \
    information. Texts (CC-BY-SA) and ratings are in the Python package gensim 4.4.0 (LGPL-2.1): 'pip download --no-deps \
    gensim==4.4.0', unzip it here and 'bunzip2 gensim/test/test_data/enwiki*shortened.bz2', or name that folder by --data or \
    APUS_WORD_VECTORS.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 15), CommonOption.batch.with(default: 1024),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, method,
    width, window, negatives, sample, fullCount, words,
  ]
  let metric = RecipeMetric("objective", goal: .smaller)

  func model(_ options: RecipeOptions) -> WordVectors {
    WordVectors(
      words: options[Self.words], width: options[Self.width],
      isGloVe: options[Self.method] == "glove")
  }

  /// Of both tables only the rows of a batch are updated. GloVe's biases have far to go, to the logarithms of counts: its
  /// authors' Adagrad takes longer steps, of 0.05 at first.
  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    if options[Self.method] == "glove" {
      return Adagrad(learningRate: .constant(25 * options.learningRate))
    }
    return Adam(
      learningRate: .falling(from: options.learningRate, by: 0.85, an: stepsPerEpoch), lazy: true)
  }

  func loss(_ model: WordVectors, _ batch: SymbolicBatch) -> Tensor {
    let loss =
      model.isGloVe
      ? model.weightedError(
        batch.words, batch.neighbours, logs: batch.logs, weights: batch.weights)
      : model.contrast(batch.words, batch.neighbours)
    batch.report(metric.name, loss)
    return loss
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let (batch, words) = (options.batch, options[Self.words])
    if options[Self.method] == "glove" {
      return [
        RandomField("words", [batch], .integers(below: words)),
        RandomField("neighbours", [batch], .integers(below: words)),
        RandomField("logs", [batch], .normal), RandomField("weights", [batch], .normal),
      ]
    }
    return [
      RandomField("words", [batch], .integers(below: words)),
      RandomField(
        "neighbours", [batch, 1 + options[Self.negatives]], .integers(below: words)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let text = try Text(options)
    return options[Self.method] == "glove"
      ? try cells(text, options) : pairs(text, options)
  }

  private func pairs(_ text: Text, _ options: RecipeOptions) -> RecipeData {
    func source(_ lines: [[Int]]) -> SkipGramPairs {
      SkipGramPairs(
        lines, counts: text.numbers.counts, window: options[Self.window],
        negatives: options[Self.negatives], batch: options.batch,
        threshold: options[Self.sample], seed: options.seed)
    }
    return RecipeData(training: source(text.training), validation: source(text.test))
  }

  /// Cells of the table of counts, of which each twentieth is held out; of a text whose frequent words are thinned out
  /// once, so that the neighbours of rare words are others.
  private func cells(_ text: Text, _ options: RecipeOptions) throws -> RecipeData {
    let kept = SkipGramPairs.kept(text.numbers.counts, threshold: options[Self.sample])
    var drawn = RecipeRandom(seed: options.seed)
    let table = Cooccurrence(
      text.training.map { SkipGramPairs.thinned($0, kept, &drawn) },
      words: text.numbers.words.count, window: options[Self.window], isNearer: true)
    var parts = (training: [(Int, Int, Double)](), test: [(Int, Int, Double)]())
    var random = RecipeRandom(seed: 0)
    for (row, cells) in table.rows.enumerated() {
      for cell in cells {
        let example = (row, cell.column, cell.count)
        if random.below(20) == 0 {
          parts.test.append(example)
        } else {
          parts.training.append(example)
        }
      }
    }
    guard !parts.training.isEmpty, !parts.test.isEmpty else { throw text.tooSmall }
    func batches(_ cells: [(Int, Int, Double)]) throws -> any BatchSource {
      let shape: Shape = [cells.count]
      let weights = cells.map { Float(pow(min($0.2 / options[Self.fullCount], 1), 0.75)) }
      return try ArrayDataset([
        "words": NDArray(checking: cells.map { Int32($0.0) }, shape: shape),
        "neighbours": NDArray(checking: cells.map { Int32($0.1) }, shape: shape),
        "logs": NDArray(checking: cells.map { Float(log($0.2)) }, shape: shape),
        "weights": NDArray(checking: weights, shape: shape),
      ]).batched(options.batch)
    }
    return RecipeData(
      training: try batches(parts.training), validation: try batches(parts.test))
  }

  /// How cosines follow people's ratings, beside those of counts.
  func judge(
    _ model: WordVectors, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let text = try Text(run.options)
    let vectors = try WordSpace(model.vectors(), words: text.numbers)
    run.tell("Nearest:\n" + vectors.neighbours)
    let counts = Cooccurrence(
      text.training, words: text.numbers.words.count, window: run.options[Self.window],
      isNearer: false)
    let information = counts.positiveInformation
    return try Self.ratings.flatMap { file -> [RecipeOutcome.Figure] in
      let all = try RatedPair.read("\(text.folder)/\(file)")
      let known = all.compactMap { pair -> (Int, Int, Double)? in
        guard let a = text.numbers[pair.first], let b = text.numbers[pair.second], a != b else {
          return nil
        }
        return (a, b, pair.rating)
      }
      let ratings = known.map(\.2)
      func figure(_ how: String, _ likeness: (Int, Int) -> Double) -> RecipeOutcome.Figure {
        RecipeOutcome.Figure(
          "\(file.prefix { $0 != "." }) \(how)",
          rankCorrelation(known.map { likeness($0.0, $0.1) }, ratings))
      }
      return [
        figure("rank correlation", vectors.cosine), figure("by counts", counts.cosine),
        figure("by mutual information", information.cosine),
        RecipeOutcome.Figure(
          "\(file.prefix { $0 != "." }) pairs in the vocabulary", Double(known.count)),
      ]
    }
  }

  /// The articles in numbers: nineteen lines of twenty, and the twentieth.
  private struct Text {
    let folder: String
    let numbers: WordNumbers
    let training: [[Int]]
    let test: [[Int]]

    init(_ options: RecipeOptions) throws {
      let variable = ProcessInfo.processInfo.environment["APUS_WORD_VECTORS"] ?? ""
      folder = options.data ?? (variable.isEmpty ? WordVectorsRecipe.place : variable)
      for file in [WordVectorsRecipe.file] + WordVectorsRecipe.ratings
      where !FileManager.default.fileExists(atPath: "\(folder)/\(file)") {
        let isPacked = FileManager.default.fileExists(atPath: "\(folder)/\(file).bz2")
        throw ApusError(
          .io, "texts and ratings are not there: no file \(file)", at: folder,
          expected: isPacked
            ? "'bunzip2 \(folder)/\(file).bz2' before"
            : "the folder gensim/test/test_data of the Python package gensim: 'pip download "
              + "--no-deps gensim==4.4.0', unzip it here and 'bunzip2 "
              + "gensim/test/test_data/enwiki*shortened.bz2', or --data, or APUS_WORD_VECTORS")
      }
      let lines = WikiText.lines(try TextFile.bytes("\(folder)/\(WordVectorsRecipe.file)"))
      let numbered = lines.enumerated()
      let training = numbered.filter { $0.offset % 20 != 19 }.map(\.element)
      numbers = WordNumbers(
        training, most: options[WordVectorsRecipe.words], least: WordVectorsRecipe.least)
      self.training = numbers.numbered(training)
      test = numbers.numbered(numbered.filter { $0.offset % 20 == 19 }.map(\.element))
      guard !self.training.isEmpty, !test.isEmpty else { throw tooSmall }
    }

    var tooSmall: ApusError {
      ApusError(
        .invalidFile, "the articles have \(numbers.words.count) words that stand there five times",
        at: "\(folder)/\(WordVectorsRecipe.file)", expected: "lines with words to learn from")
    }
  }
}

/// Two tables of vectors: what a word is, and what it is as a neighbour. GloVe has a bias for each row besides.
struct WordVectors: Module {
  let words: Embedding
  let neighbours: Embedding
  let wordBias: Embedding?
  let neighbourBias: Embedding?
  let isGloVe: Bool

  var parts: [(name: String, value: Any)] {
    [
      ("words", words), ("neighbours", neighbours), ("word_bias", wordBias as Any),
      ("neighbour_bias", neighbourBias as Any),
    ]
  }

  init(words count: Int, width: Int, isGloVe: Bool) {
    self.isGloVe = isGloVe
    let small = Initializer.uniform(low: -0.5 / Double(width), high: 0.5 / Double(width))
    words = Embedding(count, width, initializer: small)
    // Zeros for skip-gram, as word2vec begins.
    neighbours = Embedding(count, width, initializer: isGloVe ? small : .zeros)
    wordBias = isGloVe ? Embedding(count, 1, initializer: .zeros) : nil
    neighbourBias = isGloVe ? Embedding(count, 1, initializer: .zeros) : nil
  }

  /// Skip-gram's loss of a pair, the mean over pairs: `-log σ(w·c) - Σ log σ(-w·n)`.
  ///
  /// - `others`: `[n, 1 + negatives]`, the neighbour first.
  func contrast(_ ids: Tensor, _ others: Tensor) -> Tensor {
    let word = words(ids)
    let scores =
      (neighbours(others) * word.reshaped([word.shape[0], 1, word.shape[1]])).sum(axis: -1)
    let count = scores.shape[1]
    let isTrue = Tensor.iota([1, count], axis: 1) .== 0
    return softplus(`where`(isTrue, -scores, scores)).sum(axis: 1).mean()
  }

  /// GloVe's: Pennington et al. 2014, the mean of `f(x) (w·c + b + b' - log x)²`.
  func weightedError(
    _ ids: Tensor, _ others: Tensor, logs: Tensor, weights: Tensor
  ) -> Tensor {
    guard let wordBias, let neighbourBias else { return contrast(ids, others) }
    let product = (words(ids) * neighbours(others)).sum(axis: -1)
    let biases = (wordBias(ids) + neighbourBias(others)).reshaped(product.shape)
    let error = product + biases - logs
    return (weights * error * error).mean()
  }

  /// `[words, width]`: for GloVe the sum of both tables, as its authors take it.
  ///
  /// - Throws: `missing` before the model is initialised.
  func vectors() throws -> NDArray {
    let own = try words.weight.value()
    guard isGloVe else { return own }
    let both = zip(own.floats, try neighbours.weight.value().floats).map { $0 + $1 }
    return try NDArray(checking: both, shape: own.shape)
  }
}
