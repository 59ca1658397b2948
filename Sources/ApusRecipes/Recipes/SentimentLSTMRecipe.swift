// sentiment-lstm: whether a sentence is for or against a film, by a recurrent network.

import Apus
import Foundation

/// An LSTM from both ends of a sentence, whose last states tell what it thinks of a film.
struct SentimentLSTMRecipe: SupervisedRecipe {
  static let units = RecipeOption(
    "units", default: 64, .between(1, 1024), "Units of the LSTM in each direction.")
  static let width = RecipeOption(
    "width", default: 64, .between(1, 1024), "Of the words' vectors.")
  /// Words that stand in the training sentences more than once, at most.
  static let words = 12_000
  static let length = 64

  let name = "sentiment-lstm"
  let summary = "an LSTM tells what a sentence says of a film"
  let discussion = """
    A bidirectional LSTM reads 8,056 sentences of film reviews, which readers have rated, and tells of 2,014 others \
    whether they are for or against the film. Beside it stands logistic regression on the words. The sentences are in \
    the source of the Python package vaderSentiment 3.3.2 (MIT): 'pip download --no-deps --no-binary :all: \
    vaderSentiment==3.3.2', unpack it and its archive hutto_ICWSM_2014, or name that folder by --data or \
    APUS_MOVIE_SNIPPETS.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 4), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 5e-3), CommonOption.seed, CommonOption.data, units,
    width,
  ]
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

  func model(_ options: RecipeOptions) -> SentimentLSTM {
    SentimentLSTM(words: Self.words, width: options[Self.width], units: options[Self.units])
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.6, an: stepsPerEpoch),
      weightDecay: 1e-2)
  }

  func loss(_ model: SentimentLSTM, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.tokens, lengths: batch.lengths), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("tokens", [options.batch, 28], .integers(below: Self.words)),
      RandomField("labels", [options.batch], .integers(below: 2)),
      RandomField("lengths", [options.batch], .lengths(upTo: 28)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let (training, test) = try MovieSnippets.read(options)
    let numbers = SnippetWords(training.map(\.text))
    guard numbers.count <= Self.words else {
      throw ApusError(
        .invalidFile, "the sentences have \(numbers.count) words twice", at: MovieSnippets.file,
        expected: "at most \(Self.words)")
    }
    func batches(_ snippets: [MovieSnippet], _ batch: Int) throws -> LengthBatches {
      try MovieSnippets.batches(
        snippets.map { numbers[$0.text] }, snippets, batch, most: Self.length)
    }
    return RecipeData(
      training: try batches(training, options.batch), validation: try batches(test, 64))
  }

  /// What the words alone tell, and a few sentences.
  func judge(
    _ model: SentimentLSTM, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let (training, test) = try MovieSnippets.read(run.options)
    let numbers = SnippetWords(training.map(\.text))
    let predict = try Predictor(model, compile: run.compile) { model, inputs in
      [softmax(model(inputs[0], lengths: inputs[1]), axis: -1)]
    }
    try MovieSnippets.show(test, run) { place in
      let ids = numbers[test[place].text].prefix(Self.length).map { Int32($0) } + [0]
      return try predict.run([
        NDArray(checking: ids, shape: [1, ids.count]),
        NDArray(checking: [Int32(max(ids.count - 1, 1))], shape: [1]),
      ])[0].doubles[1]
    }
    return [
      RecipeOutcome.Figure(
        "accuracy by a bag of words",
        try BagOfWords.accuracy(training, test, compile: run.compile), isFraction: true)
    ]
  }
}

/// Words to vectors, an LSTM from both ends, and what its two last states say: `i32[n, t]` and the length of each →
/// `[n, 2]` logits.
struct SentimentLSTM: Module {
  let words: Embedding
  let drop = Dropout(0.5)
  let lstm: LSTM
  let output: Linear

  init(words: Int, width: Int, units: Int) {
    self.words = Embedding(words, width)
    lstm = LSTM(width, units, isBidirectional: true, forgetBias: 1)
    output = Linear(2 * units, 2)
  }

  func callAsFunction(_ tokens: Tensor, lengths: Tensor) -> Tensor {
    let last = lstm(drop(words(tokens)), lengths: lengths).state.hidden
    return output(drop(concat([last[0, axis: 0], last[1, axis: 0]], axis: -1)))
  }
}
