// king-james-words: the next word of the King James Bible.

import Apus
import Foundation

/// An LSTM that learns the Authorized Version of 1611 word by word.
struct KingJamesWordsRecipe: SupervisedRecipe {
  static let vocabulary = RecipeOption(
    "vocabulary", default: 8192, .between(2, 1 << 20), "Words and marks that have vectors.")
  static let units = RecipeOption(
    "units", default: 512, .between(8, 4096), "Units of each layer.")
  static let width = RecipeOption(
    "width", default: 256, .between(8, 4096), "Of the words' vectors.")
  static let layers = RecipeOption("layers", default: 1, .between(1, 16), "Layers of the network.")
  static let length = RecipeOption(
    "length", default: 64, .between(2, 4096), "Words that are read at once.")
  static let dropout = RecipeOption(
    "dropout", default: 0.4, .share, "Share of vectors and units that each step leaves out.")
  /// Words in a row that the network is judged by: what it remembers goes on through them.
  static let judgedLength = 512

  let name = "king-james-words"
  let summary = "an LSTM that tells the Bible's next word"
  let discussion = """
    An LSTM learns the King James Bible by words and marks, of which the 8,191 most frequent have vectors of their own; the others \
    are one, unknown. The scores of words are products with the same vectors (Press & Wolf 2017). It is judged by the last twentieth of the text, as king-james-gpt is: bits a word, and bits a \
    character, for which unknown words are spelled by 5-grams of letters. Beside it stand Kneser-Ney 5-grams of words. \
    The text is king-james-gpt's.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 4), CommonOption.batch.with(default: 16),
    CommonOption.learningRate.with(default: 3e-3), CommonOption.seed, CommonOption.data,
    vocabulary, units, width, layers, length, dropout,
  ]
  let metric = RecipeMetric("bits per word", goal: .smaller)

  func model(_ options: RecipeOptions) -> WordNetwork {
    WordNetwork(
      words: options[Self.vocabulary], width: options[Self.width], units: options[Self.units],
      layers: options[Self.layers], dropout: options[Self.dropout])
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.5, an: stepsPerEpoch),
      weightDecay: 0.05)
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch), clipNorm: 1)
  }

  func loss(_ model: WordNetwork, _ batch: SymbolicBatch) -> Tensor {
    let loss = crossEntropy(model(batch.tokens), batch.next)
    batch.report(metric.name, loss / log(2))
    return loss
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    ["tokens", "next"].map {
      RandomField(
        $0, [options.batch, options[Self.length]], .integers(below: options[Self.vocabulary]))
    }
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let text = try Text(options)
    func windows(_ tokens: [Int], _ length: Int) -> TokenWindows<Int32> {
      TokenWindows(tokens: tokens.map { Int32($0) }, length: length)
    }
    let length = options[Self.length]
    let judged = max(length, min(Self.judgedLength, text.test.count - 1))
    return RecipeData(
      training: try windows(text.training, length).batched(options.batch),
      validation: try windows(text.test, judged).batched(8))
  }

  /// The whole text held out as the network reads it, the same by counting, and a few lines of its own.
  func judge(
    _ model: WordNetwork, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let text = try Text(run.options)
    let evaluation = try EvaluationStep(
      model, seed: run.options.seed, compile: run.compile, loss: loss)
    let bits = try evaluation.run(over: data.validation).metrics.first?.value ?? .nan
    let characters = Double(text.testText.count)
    let spelled = text.pieces.bitsToSpellUnknown(in: text.testText)
    let counted = KneserNey(text.training, order: 5, vocabulary: text.pieces.pieces.count)
      .bits(of: text.test)
    run.tell("It writes:\n" + text.pieces.text(try written(model, run)))
    let words = Double(text.test.count)
    return [
      RecipeOutcome.Figure("bits per character", (bits * words + spelled) / characters),
      RecipeOutcome.Figure("bits per word by Kneser-Ney 5-grams", counted / words),
      RecipeOutcome.Figure(
        "bits per character by Kneser-Ney 5-grams", (counted + spelled) / characters),
      RecipeOutcome.Figure(
        "unknown words", Double(text.test.count { $0 == WordPieces.unknown }) / words,
        isFraction: true),
    ]
  }

  private func written(_ model: WordNetwork, _ run: RecipeRun) throws -> [Int] {
    try model.written(
      after: WordPieces.unknown, atMost: 120, temperature: 0.7,
      state: [run.options[Self.layers], 1, run.options[Self.units]], run: run
    ) { $0 != WordPieces.unknown }
  }

  /// The text in pieces, as numbers.
  private struct Text {
    let pieces: WordPieces
    let training: [Int]
    let test: [Int]
    let testText: String

    init(_ options: RecipeOptions) throws {
      let length = options[KingJamesWordsRecipe.length]
      let tokens = try KingJamesText.read(options, length: length)
      let training = CharacterText.text(tokens.training.map(Int.init))
      testText = CharacterText.text(tokens.test.map(Int.init))
      pieces = WordPieces(training, count: options[KingJamesWordsRecipe.vocabulary])
      self.training = pieces.tokens(training)
      test = pieces.tokens(testText)
      guard test.count > length else {
        throw ApusError(
          .invalidFile, "the text held out has \(test.count) words and marks",
          at: KingJamesText.folder(options.data), expected: "more than \(length)")
      }
    }
  }
}

/// Words' vectors, an LSTM, scores of the next word by the same vectors: what is learnt of a word as one that was read helps
/// to tell it (Press & Wolf 2017, "Using the Output Embedding to Improve Language Models").
struct WordNetwork: RecurrentWriter {
  let embedding: Embedding
  let lstm: LSTM
  let projection: Linear
  let bias: Parameter
  let drop: Dropout

  init(words: Int, width: Int, units: Int, layers: Int, dropout: Double) {
    embedding = Embedding(words, width, initializer: .normal(mean: 0, deviation: 0.1))
    lstm = LSTM(width, units, layers: layers, forgetBias: 1)
    projection = Linear(units, width)
    bias = Parameter([words], .zeros)
    drop = Dropout(dropout)
  }

  /// `[batch, time]` → `[batch, time, words]`.
  func callAsFunction(_ tokens: Tensor) -> Tensor { run(tokens, nil).logits }

  /// The scores behind one token a row, `f32[batch, words]`.
  func scores(_ tokens: Tensor, _ state: LSTM.State) -> (Tensor, LSTM.State) {
    let (logits, state) = run(tokens, state)
    return (logits[-1, axis: 1].cast(to: .f32), state)
  }

  private func run(_ tokens: Tensor, _ state: LSTM.State?) -> (logits: Tensor, LSTM.State) {
    let (outputs, last) = lstm(drop(embedding(tokens)), initial: state)
    let told = drop(projection(drop(outputs)))
    return (told.matmul(embedding.weight.tensor, transposeOther: true) + bias.tensor, last)
  }
}
