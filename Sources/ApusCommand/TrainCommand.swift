// `apus train`: a recipe, trained on real data from one command.

import Apus
import ApusRecipes
import ArgumentParser
import Foundation

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model on real data.",
    discussion: """
      Recipes:
      \(RecipeList.summaries(recipes.trainable))

      --list tells what each learns and which options it has, with their defaults. Options of a recipe's \
      own come after its name: apus train fashion-mnist --hidden 256.

      The weights depend on the options alone, not on the number of threads; nor, in the highest \
      precision and without AMX, on the kernels' level. \
      Ctrl-C writes a checkpoint and exits with 130; --resume goes on from it, to the same weights as an \
      uninterrupted run.
      """)

  @OptionGroup var recipe: RecipeArguments

  @Flag(help: "Tell all about the recipes, or the one that is named, and train nothing.")
  var list = false

  @Option(help: "Passes over the training data. Default: the recipe's.")
  var epochs: String?

  @Option(help: "Examples a step. Default: the recipe's.")
  var batch: String?

  @Option(
    name: .customLong("learning-rate"), help: "The first learning rate. Default: the recipe's.")
  var learningRate: String?

  @Option(help: "Determines first weights and the order of the data. Default: 0.")
  var seed: String?

  @Option(help: "The data set's folder. Default: the recipe's, such as APUS_FASHION_MNIST.")
  var data: String?

  @Option(
    name: [.short, .long], help: "Where the weights go. Default: the recipe's name.safetensors.")
  var output: String?

  @Option(help: "A checkpoint of a run with the same options, to go on from.")
  var resume: String?

  @OptionGroup var execution: ExecutionOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  private func options() throws -> RecipeOptions {
    try recipe.options([
      ("epochs", epochs), ("batch", batch), ("learning-rate", learningRate), ("seed", seed),
      ("data", data),
    ])
  }

  func validate() throws {
    if list {
      if !recipe.words.isEmpty { _ = try recipe.recipe() }
      return
    }
    _ = try usage { try recipe.recipe().trainable() }
    _ = try options()
    guard output != "" else { throw ValidationError("--output is empty: a file is expected.") }
  }

  func run() throws {
    if list { return try tellRecipes() }
    let run = RecipeRun(
      try recipe.recipe(), try options(), compile: execution.compileOptions, output: output,
      resume: resume, progress: [CommandProgress(json: json)],
      isInterrupted: { Interruption.signal != nil })
    do {
      try run.start().write(weights: run.output, json: json)
    } catch let stop as RunInterrupted {
      if json { try Output.line(stop.json) }
      throw Interrupted(signal: Interruption.signal ?? SIGINT, description: stop.description)
    }
  }

  private func tellRecipes() throws {
    for recipe in recipe.words.isEmpty ? recipes : [try recipe.recipe()] {
      if json {
        try Output.line(RecipeList.json(recipe))
      } else {
        try Output.line(RecipeList.text(recipe) + "\n")
      }
    }
  }
}
