// king-james-gpt: the next character of the King James Bible.

import Apus
import Foundation

/// A small GPT that learns the Authorized Version of 1611 character by character.
struct KingJamesRecipe: KingJamesRecipes {
  static let width = RecipeOption(
    "width", default: 256, .between(8, 4096), "Of the tokens' vectors; a multiple of the heads.")
  static let heads = RecipeOption("heads", default: 4, .between(1, 64), "Heads of the attention.")
  static let blocks = RecipeOption("blocks", default: 4, .between(1, 64), "Layers of the network.")
  static let length = RecipeOption(
    "length", default: 128, .between(2, 4096), "Characters that are read at once.")

  let name = "king-james-gpt"
  let summary = "a GPT that writes the Bible's next character"
  let discussion = """
    A GPT of four layers learns the King James Bible by characters, 3.9 million of them, and is judged by the last \
    twentieth, the letters of the apostles. Beside it stand the bits that counting single letters and pairs would take; at the end it writes \
    a few lines. The text (public domain) is in the Debian package sword-text-kjv; --data or APUS_KING_JAMES name another folder.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 2), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 1e-3), CommonOption.seed, CommonOption.data, width,
    heads, blocks, length,
  ]
  let metric = RecipeMetric("bits per character", goal: .smaller)
  var quickSteps: Int { 25 }

  func model(_ options: RecipeOptions) throws -> GPT2 {
    let configuration = GPT2.Configuration(
      vocabulary: CharacterText.count, length: options[Self.length], width: options[Self.width],
      layers: options[Self.blocks], heads: options[Self.heads], dropout: 0)
    try configuration.validate()
    return GPT2(configuration)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW(
      learningRate: .falling(from: options.learningRate, by: 0.4, an: stepsPerEpoch),
      weightDecay: 0.1)
  }

  func loss(_ model: GPT2, _ batch: SymbolicBatch) -> Tensor {
    let loss = crossEntropy(model(batch.tokens), batch.next)
    batch.report("bits per character", loss / log(2))
    return loss
  }

  /// What counting would take, and a few lines of the model's own.
  func judge(
    _ model: GPT2, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let (training, test) = try KingJamesText.read(run.options, length: run.options[Self.length])
    let generator = try TokenGenerator(model, compile: run.compile)
    let rows = try generator.continue(
      [[CharacterText.lineEnd]], by: min(generator.length - 1, 400),
      sampling: TokenSampling(temperature: 0.8), seed: run.options.seed)
    run.tell("It writes:\n" + CharacterText.text(rows[0].dropFirst()))
    return KingJamesText.counted(training, test)
  }
}
