// japanese-vowels-gru: who says it, told by a recurrent network that knows where each utterance ends.

import Apus
import Foundation

/// A bidirectional GRU on the series of `japanese-vowels`.
struct VowelsGRURecipe: SupervisedRecipe {
  static let units = RecipeOption(
    "units", default: 64, .between(1, 1024), "Units of the GRU in each direction.")

  let name = "japanese-vowels-gru"
  let summary = "a GRU with lengths tells nine speakers apart"
  let discussion = """
    A bidirectional GRU tells nine speakers by two vowels, from the data of japanese-vowels: 270 utterances of 7 to 26 steps, \
    each read to its own end, judged by 370 others. Beside it stands the speaker whose mean coefficients are nearest. The data is in the \
    Python package aeon 1.6.0: 'pip download --no-deps aeon==1.6.0' and unzip it here, or --data, or APUS_JAPANESE_VOWELS.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 40), CommonOption.batch.with(default: 30),
    CommonOption.learningRate.with(default: 4e-3), CommonOption.seed, CommonOption.data, units,
  ]
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

  func model(_ options: RecipeOptions) -> SpeakerNetwork {
    SpeakerNetwork(
      VowelsRecipe.channels, units: options[Self.units], classes: VowelsRecipe.speakers)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.93, an: stepsPerEpoch),
      weightDecay: 1e-2)
  }

  func loss(_ model: SpeakerNetwork, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.series, lengths: batch.lengths), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField(
        "series", [options.batch, VowelsRecipe.length, VowelsRecipe.channels], .normal),
      RandomField("lengths", [options.batch], .lengths(upTo: VowelsRecipe.length)),
      RandomField("labels", [options.batch], .integers(below: VowelsRecipe.speakers)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    try VowelsRecipe.batches(VowelsRecipe.series(options), options)
  }

  func judge(
    _ model: SpeakerNetwork, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let (training, test) = try VowelsRecipe.series(run.options)
    return [
      RecipeOutcome.Figure(
        "accuracy by the nearest mean", Self.byNearestMean(training, test), isFraction: true)
    ]
  }

  /// The fraction of series that are right where each is its channels' means, and the class that whose mean is nearest.
  static func byNearestMean(_ training: LabeledSeries, _ test: LabeledSeries) -> Double {
    func mean(_ series: NDArray) -> [Double] {
      let steps = series.shape[0], channels = series.shape[1], values = series.doubles
      return (0..<channels).map { channel in
        (0..<steps).reduce(0) { $0 + values[$1 * channels + channel] } / Double(max(steps, 1))
      }
    }
    let classes = training.classNames.indices.map { label -> [Double]? in
      let own = zip(training.series, training.labels).filter { $1 == label }.map { mean($0.0) }
      guard let first = own.first else { return nil }
      return first.indices.map { place in own.reduce(0) { $0 + $1[place] } / Double(own.count) }
    }
    func distance(_ a: [Double], _ b: [Double]?) -> Double {
      b.map { zip(a, $0).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } } ?? .infinity
    }
    let right = zip(test.series, test.labels).count { series, label in
      let own = mean(series)
      let distances = classes.map { distance(own, $0) }
      return distances.firstIndex(of: distances.min() ?? 0) == label
    }
    return Double(right) / Double(max(test.count, 1))
  }
}

/// A GRU from both ends; a linear layer on the states that the directions end with: `[n, length, channels]` and the length
/// of each series → `[n, classes]` logits.
struct SpeakerNetwork: Module {
  let gru: GRU
  let drop = Dropout(0.3)
  let output: Linear

  init(_ channels: Int, units: Int, classes: Int) {
    gru = GRU(channels, units, isBidirectional: true)
    output = Linear(2 * units, classes)
  }

  func callAsFunction(_ series: Tensor, lengths: Tensor) -> Tensor {
    let state = gru(series, lengths: lengths).state
    return output(drop(concat([state[0, axis: 0], state[1, axis: 0]], axis: 1)))
  }
}
