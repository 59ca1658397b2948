// irish-tunes: the next character of a tune, and tunes of its own.

import Apus
import Foundation

/// An LSTM that learns tunes in ABC notation, each from its beginning.
struct IrishTunesRecipe: SupervisedRecipe {
  static let units = RecipeOption(
    "units", default: 256, .between(8, 4096), "Units of each layer.")
  static let layers = RecipeOption("layers", default: 1, .between(1, 16), "Layers of the network.")
  /// Stands before and behind each tune.
  static let mark = CharacterText.count
  static let vocabulary = CharacterText.count + 1
  /// What tunes are padded to; longer ones end there.
  static let lengths = [192, 256, 320, 448, 1024]
  private static let place = "music21/corpus/oneills1850"
  private static let expected =
    "the folder music21/corpus/oneills1850 of the Python package music21: 'pip download --no-deps "
    + "music21==10.5.1' and unzip it here, or --data, or APUS_IRISH_TUNES"

  let name = "irish-tunes"
  let summary = "an LSTM that writes Irish tunes"
  let discussion = """
    An LSTM learns tunes in ABC notation, character by character: title, metre, key and notes of the 2,009 tunes of O'Neill's \
    Music of Ireland (1903). Each tenth ten of them is held out, since versions of one tune stand side by side. Beside \
    it stand Kneser-Ney 5-grams; at the end it writes a tune. They are in the Python package music21 10.5.1 (BSD; some \
    encodings not for commercial use): 'pip download --no-deps music21==10.5.1' and unzip it here, or name the folder by \
    --data or APUS_IRISH_TUNES.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 15), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 3e-3), CommonOption.seed, CommonOption.data, units,
    layers,
  ]
  let metric = RecipeMetric("bits per character", goal: .smaller)

  func model(_ options: RecipeOptions) -> TuneNetwork {
    TuneNetwork(
      characters: Self.vocabulary, width: 64, units: options[Self.units],
      layers: options[Self.layers])
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.85, an: stepsPerEpoch),
      weightDecay: 0.05)
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch), clipNorm: 1)
  }

  func loss(_ model: TuneNetwork, _ batch: SymbolicBatch) -> Tensor {
    let loss = crossEntropy(model(batch.tokens, lengths: batch.lengths), batch.next)
    batch.report(metric.name, loss / log(2))
    return loss
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let shape: Shape = [options.batch, Self.lengths[0]]
    return [
      RandomField("tokens", shape, .integers(below: Self.vocabulary)),
      RandomField("next", shape, .integers(below: Self.vocabulary)),
      RandomField("lengths", [options.batch], .lengths(upTo: Self.lengths[0])),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let (training, test) = try tunes(options)
    func batches(_ tunes: [[Int]]) throws -> LengthBatches {
      try SequenceDataset([
        "tokens": .tokens(tunes.map { Array($0.dropLast()) }),
        "next": .labels(tunes.map { Array($0.dropFirst()) }),
      ]).batched(options.batch, lengths: Self.lengths)
    }
    return RecipeData(training: try batches(training), validation: try batches(test))
  }

  /// What counting would take, and a tune.
  func judge(
    _ model: TuneNetwork, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let (training, test) = try tunes(run.options)
    run.tell("It writes:\n" + CharacterText.text(try written(model, run)))
    let characters = test.reduce(0) { $0 + $1.count - 1 }
    return [1, 2, 5].map { order in
      let counted = KneserNey(training.flatMap { $0 }, order: order, vocabulary: Self.vocabulary)
      // The mark before a tune is known.
      let bits = test.reduce(0.0) { bits, tune in
        tune.indices.dropFirst().reduce(bits) {
          $0 - log2(counted.probability(of: tune[$1], after: tune[..<$1]))
        }
      }
      return RecipeOutcome.Figure(
        order == 1
          ? "bits by single characters"
          : order == 2 ? "bits by pairs of characters" : "bits by Kneser-Ney \(order)-grams",
        bits / Double(max(characters, 1)))
    }
  }

  /// A tune that the network goes on with until it ends it.
  private func written(_ model: TuneNetwork, _ run: RecipeRun) throws -> [Int] {
    try model.written(
      after: Self.mark, atMost: Self.lengths.last! - 1, temperature: 0.6,
      state: [run.options[Self.layers], 1, run.options[Self.units]], end: Self.mark, run: run)
  }

  /// Tunes between their marks: nine tens of ten, and the tenth.
  private func tunes(_ options: RecipeOptions) throws -> (training: [[Int]], test: [[Int]]) {
    let variable = ProcessInfo.processInfo.environment["APUS_IRISH_TUNES"] ?? ""
    let folder = options.data ?? (variable.isEmpty ? Self.place : variable)
    let all = try ABCTunes.read(folder, expected: Self.expected).map { tune in
      Array(
        ([Self.mark] + CharacterText.tokens(tune).map(Int.init) + [Self.mark])
          .prefix(Self.lengths.last! + 1))
    }
    guard all.count >= 100 else {
      throw ApusError(
        .invalidFile, "\(all.count) tunes", at: folder, expected: "a hundred at least")
    }
    let numbered = all.enumerated()
    return (
      numbered.filter { $0.offset / 10 % 10 != 9 }.map(\.element),
      numbered.filter { $0.offset / 10 % 10 == 9 }.map(\.element)
    )
  }
}

/// Characters' vectors, an LSTM, scores of the next character.
struct TuneNetwork: RecurrentWriter {
  let embedding: Embedding
  let lstm: LSTM
  let output: Linear
  let drop = Dropout(0.3)

  init(characters: Int, width: Int, units: Int, layers: Int) {
    embedding = Embedding(characters, width)
    lstm = LSTM(width, units, layers: layers, dropout: 0.3, forgetBias: 1)
    output = Linear(units, characters)
  }

  /// `[batch, time]` and the length of each → `[batch, time, characters]`.
  func callAsFunction(_ tokens: Tensor, lengths: Tensor) -> Tensor {
    output(drop(lstm(embedding(tokens), lengths: lengths).outputs))
  }

  /// The scores behind one token a row, `f32[batch, characters]`.
  func scores(_ tokens: Tensor, _ state: LSTM.State) -> (Tensor, LSTM.State) {
    let (outputs, last) = lstm(embedding(tokens), initial: state)
    return (output(outputs)[-1, axis: 1].cast(to: .f32), last)
  }
}
