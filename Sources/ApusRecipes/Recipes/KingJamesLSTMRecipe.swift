// king-james-lstm: the next character of the King James Bible, by a recurrent network.

import Apus
import Foundation

/// An LSTM that learns the Authorized Version of 1611 character by character.
struct KingJamesLSTMRecipe: KingJamesRecipes {
  static let units = RecipeOption(
    "units", default: 512, .between(8, 4096), "Units of each layer.")
  static let layers = RecipeOption("layers", default: 2, .between(1, 16), "Layers of the network.")
  static let length = RecipeOption(
    "length", default: 128, .between(2, 4096), "Characters that are read at once.")

  let name = "king-james-lstm"
  let summary = "an LSTM that tells the Bible's next character"
  let discussion = """
    Two layers of LSTM learn the King James Bible by characters, as king-james-gpt does, and are judged by the same last \
    twentieth. Each window of 128 characters begins with an empty state.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 2), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, units,
    layers, length,
  ]
  let metric = RecipeMetric("bits per character", goal: .smaller)
  var quickSteps: Int { 25 }

  func model(_ options: RecipeOptions) throws -> CharacterNetwork<LSTM> {
    let units = options[Self.units]
    return CharacterNetwork(
      LSTM(64, units, layers: options[Self.layers], forgetBias: 1),
      characters: CharacterText.count, width: 64, hidden: units, run: { $0($1).outputs })
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    Adam(learningRate: .falling(from: options.learningRate, by: 0.4, an: stepsPerEpoch))
  }

  func loss(_ model: CharacterNetwork<LSTM>, _ batch: SymbolicBatch) -> Tensor {
    let loss = crossEntropy(model(batch.tokens), batch.next)
    batch.report("bits per character", loss / log(2))
    return loss
  }

  /// What counting would take.
  func judge(
    _ model: CharacterNetwork<LSTM>, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let (training, test) = try KingJamesText.read(run.options, length: run.options[Self.length])
    return KingJamesText.counted(training, test)
  }
}
