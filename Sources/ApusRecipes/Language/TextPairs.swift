// Pairs of texts, of which a network learns to write the second from the first.

import Apus
import ApusText

/// What is read and what is to be written.
struct TextPair: Equatable, Sendable {
  var source: String
  var target: String
}

/// Pairs to learn from, and pairs to be judged by.
struct PairedTexts: Sendable {
  var training: [TextPair]
  var test: [TextPair]
}

/// A recipe whose network writes a text from another: an encoder–decoder transformer on pieces of words.
protocol TextPairRecipe: SupervisedRecipe where Model == EncoderDecoderTransformer {
  /// What pairs are padded to, ascending; the last is the most tokens of a source.
  static var lengths: [Int] { get }
  /// The most tokens of a target, the end token among them.
  static var targetLength: Int { get }
  static var copiesSource: Bool { get }
  /// The part of a target that is spread over all tokens while the network learns.
  static var labelSmoothing: Double { get }

  /// - Throws: `io` where the texts are not there, and what reading them throws.
  func texts(_ options: RecipeOptions) throws -> PairedTexts
}

/// The options that such recipes have.
enum TextPairOption {
  static let vocabulary = RecipeOption(
    "vocabulary", default: 8000, .between(300, 1 << 17), "Pieces of words, bytes among them.")
  static let width = RecipeOption(
    "width", default: 192, .between(8, 4096), "Of the tokens' vectors, a multiple of 32 from 32 on."
  )
  static let layers = RecipeOption(
    "layers", default: 3, .between(1, 24), "Layers of the encoder, and as many of the decoder.")
  static let dropout = RecipeOption(
    "dropout", default: 0.1, .between(0, 0.9),
    "Of attention's weights, hidden units and what is added.")
  static let warmUp = RecipeOption(
    "warm-up", default: 400, .between(1, 1 << 20), "Steps in which the learning rate rises.")
}

extension TextPairRecipe {
  static var startToken: Int { 0 }
  static var endToken: Int { 1 }
  static var headWidth: Int { 32 }

  func model(_ options: RecipeOptions) throws -> EncoderDecoderTransformer {
    let width = options[TextPairOption.width]
    var configuration = EncoderDecoderTransformer.Configuration(
      vocabulary: options[TextPairOption.vocabulary], length: Self.lengths.last!, width: width,
      layers: options[TextPairOption.layers], heads: max(width / Self.headWidth, 1),
      dropout: options[TextPairOption.dropout], copiesSource: Self.copiesSource,
      startToken: Self.startToken, endToken: Self.endToken)
    configuration.targetLength = Self.targetLength
    return EncoderDecoderTransformer(configuration)
  }

  /// Vaswani et al. 2017, 5.3, with a peak of one's own.
  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    Adam(
      learningRate: .inverseRoot(
        peak: options.learningRate, warmUp: options[TextPairOption.warmUp]),
      beta1: 0.9, beta2: 0.98, epsilon: 1e-9)
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch), clipNorm: 1)
  }

  /// While it learns, loss and perplexity are those of smoothed targets.
  func loss(_ model: EncoderDecoderTransformer, _ batch: SymbolicBatch) -> Tensor {
    // A batch is padded to its longest source; no target goes further than this.
    let labels = batch.target.sliced(
      axis: 1, to: min(batch.target.shape[1], model.configuration.targetLength))
    let scores = model(batch.source, lengths: batch.lengths, predicting: labels)
    let smoothing = scores.trace.mode == .training ? Self.labelSmoothing : 0
    let loss = crossEntropy(scores, labels, labelSmoothing: smoothing)
    batch.reportPerplexity(loss, weight: batch.targetLengths.sum().cast(to: .f32))
    return loss
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let (batch, length) = (options.batch, Self.lengths[Self.lengths.count / 2])
    let vocabulary = options[TextPairOption.vocabulary]
    return [
      RandomField("source", [batch, length], .integers(below: vocabulary)),
      RandomField("target", [batch, length], .integers(below: vocabulary)),
      RandomField("lengths", [batch], .lengths(upTo: length)),
      RandomField("targetLengths", [batch], .lengths(upTo: length)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let numbered = try NumberedPairs<Self>(texts(options), options)
    return RecipeData(
      training: try numbered.training.batched(options.batch, lengths: Self.lengths),
      validation: try numbered.test.batched(options.batch, lengths: Self.lengths))
  }
}

/// Texts as tokens of one vocabulary, learnt from those that are learnt from.
struct NumberedPairs<Recipe: TextPairRecipe> {
  let texts: PairedTexts
  let tokenizer: Tokenizer
  private let most: Int

  init(_ texts: PairedTexts, _ options: RecipeOptions) throws {
    self.texts = texts
    let trainer = BPETrainer(
      vocabularySize: options[TextPairOption.vocabulary], specialTokens: ["<start>", "<end>"],
      addsPrefixSpace: true)
    tokenizer = try trainer.train(texts.training.flatMap { [$0.source, $0.target] })
    most = Recipe.lengths.last!
  }

  /// Writes the tokenizer beside the weights, `verse-translation.tokenizer.json`: what they were learnt for.
  func save(_ run: RecipeRun) throws {
    guard run.isFirst else { return }
    let path = run.path(ending: ".tokenizer.json")
    try tokenizer.save(to: path)
    run.tell("The tokenizer is in \(path).")
  }

  var training: SequenceDataset { get throws { try dataset(texts.training) } }
  var test: SequenceDataset { get throws { try dataset(texts.test) } }

  private func dataset(_ pairs: [TextPair]) throws -> SequenceDataset {
    let targets = try tokenizer.ids(of: pairs.map(\.target)).map {
      $0.prefix(Recipe.targetLength - 1) + [Recipe.endToken]
    }
    return try SequenceDataset([
      "source": .tokens(try sources(pairs.map(\.source))),
      "target": .labels(targets.map(Array.init)),
    ])
  }

  /// Tokens of sources, cut where there are too many, and the end.
  func sources(_ texts: [String]) throws -> [[Int]] {
    try tokenizer.ids(of: texts).map { $0.prefix(most - 1) + [Recipe.endToken] }
  }

  /// The text of what was written.
  func text(_ tokens: [Int]) throws -> String {
    // Bytes that are no character are shown as such: a model may write what it wants.
    let text = try tokenizer.decode(tokens.filter { $0 > Recipe.endToken })
    return text.first == " " ? String(text.dropFirst()) : text
  }

  /// What a model writes for sources: the likeliest token at each step, or the best row of a search.
  func written(
    _ model: EncoderDecoderTransformer, for sources: [String], beams: BeamSearch? = nil,
    run: RecipeRun
  ) throws -> [String] {
    let generator = try EncoderDecoderGenerator(
      model, batch: beams == nil ? 64 : 16, compile: run.compile)
    let tokens = try self.sources(sources)
    guard let beams else { return try generator.generate(tokens).map { try text($0) } }
    return try generator.search(tokens, beams: beams).map { try text($0.first?.tokens ?? []) }
  }
}
