// The list of recipes. Everything that knows recipes by name reads it from here.

import Apus

/// All recipes: those that learn from real data first, then those for learners, then those of the benchmarks, smallest first.
package let recipes: [any Recipe] = [
  FashionMNISTRecipe(),
  FashionMNISTImageRecipe.leNet,
  FashionMNISTImageRecipe.resNet,
  FashionMNISTTransferRecipe(),
  FashionMNISTMultitaskRecipe(),
  SegmentationRecipe(),
  DetectionRecipe(),
  DenoisingRecipe(),
  VowelsRecipe(),
  VowelsGRURecipe(),
  TaggingRecipe(),
  SentimentLSTMRecipe(),
  SentimentBERTRecipe(),
  ForecastRecipe(),
  KingJamesRecipe(),
  KingJamesLSTMRecipe(),
  LettersToSoundsRecipe(),
  KingJamesWordsRecipe(),
  IrishTunesRecipe(),
  WordVectorsRecipe(),
  VerseTranslationRecipe(),
  PackageSummariesRecipe(),
  KingJamesBERTRecipe(),
  KingJamesClozeRecipe(),
  LogicGatesRecipe(),
  LossLandscapeRecipe(),
  OverFittingRecipe(),
  PerceptronBenchmark.tiny,
  PerceptronBenchmark.small,
  PerceptronBenchmark.large,
  PerceptronBenchmark.wide,
  ImageBenchmark.leNet,
  ImageBenchmark.resNet20,
  TokenBenchmark.lstm,
  TokenBenchmark.gru,
  TokenBenchmark.gpt,
  TokenBenchmark.bert,
]

extension [any Recipe] {
  /// Those that learn from real data.
  package var trainable: [any TrainableRecipe] { compactMap { $0 as? any TrainableRecipe } }

  /// Those that are there to be timed; PyTorch and JAX have the same in Benchmarks/peers/train.py.
  package var benchmarks: [any Recipe] { filter { !($0 is any TrainableRecipe) } }

  /// The recipe of that name.
  ///
  /// - Throws: `missing`, with the names there are.
  package func named(_ name: String) throws -> any Recipe {
    guard let recipe = first(where: { $0.name == name }) else {
      throw ApusError(
        .missing, "there is no recipe '\(name)'",
        expected: "one of \(map(\.name).joined(separator: ", "))")
    }
    return recipe
  }
}
