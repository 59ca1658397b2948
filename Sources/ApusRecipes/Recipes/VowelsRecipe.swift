// japanese-vowels: who says it, told by convolutions over time.

import Apus
import Foundation

/// A convolutional network on time series of twelve channels and unequal lengths, of nine speakers.
struct VowelsRecipe: SupervisedRecipe {
  static let width = RecipeOption(
    "width", default: 64, .between(1, 1024), "Channels of the convolutions.")
  /// Steps of the longest utterance.
  static let length = 29
  static let channels = 12
  static let speakers = 9
  private static let place = "aeon/datasets/data/JapaneseVowels"

  let name = "japanese-vowels"
  let summary = "convolutions over time tell nine speakers apart"
  let discussion = """
    A temporal convolutional network tells nine speakers by two vowels: 270 utterances of 7 to 26 steps with twelve \
    coefficients each, judged by 370 others, of which 98 to 99 % are right after 60 epochs. The data is in the Python package aeon 1.6.0: \
    'pip download --no-deps aeon==1.6.0' and unzip it here, or name the folder \(place) by --data or \
    APUS_JAPANESE_VOWELS.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 60), CommonOption.batch.with(default: 30),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, width,
  ]
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

  func model(_ options: RecipeOptions) -> TemporalNetwork {
    TemporalNetwork(Self.channels, width: options[Self.width], classes: Self.speakers)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.95, an: stepsPerEpoch),
      weightDecay: 1e-2)
  }

  func loss(_ model: TemporalNetwork, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.series, lengths: batch.lengths), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("series", [options.batch, Self.length, Self.channels], .normal),
      RandomField("lengths", [options.batch], .integers(below: Self.length + 1)),
      RandomField("labels", [options.batch], .integers(below: Self.speakers)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    try Self.batches(Self.series(options), options)
  }

  /// The utterances, channels with the training set's mean and deviation taken away.
  ///
  /// - Throws: `io` naming the package where they are not there, `invalidFile` where they are others.
  static func series(
    _ options: RecipeOptions
  ) throws -> (training: LabeledSeries, test: LabeledSeries) {
    let variable = ProcessInfo.processInfo.environment["APUS_JAPANESE_VOWELS"] ?? ""
    let folder = options.data ?? (variable.isEmpty ? place : variable)
    let training = try read(folder, "TRAIN", count: 270)
    let test = try read(folder, "TEST", count: 370)
    let (_, scale) = try training.steps.standardized()
    return (
      try training.map { try scale.apply(to: $0) }, try test.map { try scale.apply(to: $0) }
    )
  }

  /// With zeros behind short utterances.
  static func batches(
    _ series: (training: LabeledSeries, test: LabeledSeries), _ options: RecipeOptions
  ) throws -> RecipeData {
    RecipeData(
      training: try series.training.padded(to: length).batched(options.batch),
      validation: try series.test.padded(to: length).batched(74))
  }

  private static func read(_ folder: String, _ part: String, count: Int) throws -> LabeledSeries {
    let path = "\(folder)/JapaneseVowels_\(part).ts"
    guard FileManager.default.fileExists(atPath: path) else {
      throw ApusError(
        .io, "JapaneseVowels is not there: no file JapaneseVowels_\(part).ts", at: folder,
        expected: "the folder \(place) of the Python package aeon: 'pip download --no-deps "
          + "aeon==1.6.0' and unzip it here, or --data, or APUS_JAPANESE_VOWELS")
    }
    let series = try LabeledSeries(contentsOf: path)
    guard series.count == count, series.channels == channels, series.longest <= length,
      series.classNames.count == speakers
    else {
      throw ApusError(
        .invalidFile,
        "the file has \(series.count) series of \(series.channels) channels and up to "
          + "\(series.longest) steps", at: path,
        expected: "\(count) of \(channels) channels and up to \(length) steps")
    }
    return series
  }
}

/// Residual convolutions over time with growing dilation (Bai, Kolter & Koltun 2018, "An empirical evaluation of generic
/// convolutional and recurrent networks for sequence modeling"), here in both directions: `[n, length, channels]`
/// and the length of each series → `[n, classes]` logits.
///
/// Steps behind a series are zeros before each convolution and count for nothing in the mean over time: what stands
/// there does not matter.
struct TemporalNetwork: Module {
  let input: Conv1d
  let blocks: [Block]
  let norm: LayerNorm
  let output: Linear

  /// Two convolutions beside a shortcut, each after a normalisation of the channels of a step, which knows nothing of
  /// padding.
  struct Block: Module {
    let norm1: LayerNorm
    let conv1: Conv1d
    let norm2: LayerNorm
    let conv2: Conv1d
    let drop = Dropout(0.2)

    init(_ width: Int, dilation: Int) {
      func conv() -> Conv1d {
        Conv1d(
          width, width, 3, padding: .all(dilation), dilation: PerAxis(dilation),
          initializer: .kaimingNormal)
      }
      (norm1, norm2) = (LayerNorm(width), LayerNorm(width))
      (conv1, conv2) = (conv(), conv())
    }

    func callAsFunction(_ x: Tensor, isThere: Tensor) -> Tensor {
      let first = conv1(relu(norm1(x)) * isThere)
      return x + drop(conv2(relu(norm2(first)) * isThere))
    }
  }

  init(_ channels: Int, width: Int, classes: Int) {
    input = Conv1d(channels, width, 3, padding: 1)
    blocks = [1, 2, 4].map { Block(width, dilation: $0) }
    norm = LayerNorm(width)
    output = Linear(width, classes)
  }

  /// - `lengths`: integers `[n]`; a series of no steps has the logits of zeros.
  func callAsFunction(_ series: Tensor, lengths: Tensor) -> Tensor {
    let places = Tensor.arange(to: Double(series.shape[1])).expandingDims(at: 0)
    let lengths = lengths.cast(to: .i32).expandingDims(at: 1)
    let isThere = (places .< lengths).cast(to: series.dtype).expandingDims(at: -1)
    let x = blocks.reduce(input(series * isThere)) { $1($0, isThere: isThere) }
    let sum = (relu(norm(x)) * isThere).sum(axis: 1)
    return output(sum / maximum(lengths.cast(to: series.dtype), 1))
  }
}
