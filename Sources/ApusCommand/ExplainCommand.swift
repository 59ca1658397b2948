// `apus explain`: pictures of a trained network, for people.

import Apus
import ApusRecipes
import ArgumentParser

struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Draw what a trained network of images looks at.",
    discussion: """
      Writes PNG files into a folder: the first images of the held-out data, the filters of the first \
      convolution, the feature maps of a layer, saliency (the gradient of the score by the pixels), Grad-CAM, \
      and class activation where the network has a head on the means of channels.

      Recipes:
      \(RecipeList.summaries(recipes.filter { $0 is any PicturedRecipe }))
      """)

  @OptionGroup var recipe: RecipeArguments

  @Option(
    name: [.short, .long],
    help: "A file of weights, or a checkpoint. Default: the recipe's name.safetensors.")
  var weights: String?

  @Option(name: [.short, .long], help: "The folder for the pictures. Default: the recipe's name.")
  var output: String?

  @Option(help: "How many images, 1 to 100.")
  var count = 8

  @Option(
    help: "The part whose feature maps are drawn, such as conv1. Default: the last that has some.")
  var layer: String?

  @Option(help: "The data set's folder. Default: the recipe's, such as APUS_FASHION_MNIST.")
  var data: String?

  @OptionGroup var execution: ExecutionOptions

  @Flag(help: "One JSON object on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    _ = try usage { try recipe.recipe().pictured() }
    _ = try options()
    guard (1...100).contains(count) else {
      throw ValidationError("--count is \(count): a number from 1 to 100 is expected.")
    }
    guard weights != "" else { throw ValidationError("--weights is empty: a file is expected.") }
    guard output != "" else { throw ValidationError("--output is empty: a folder is expected.") }
    guard layer != "" else { throw ValidationError("--layer is empty: a path is expected.") }
  }

  private func options() throws -> RecipeOptions { try recipe.options([("data", data)]) }

  func run() throws {
    let recipe = try recipe.recipe().pictured()
    let request = PictureRequest(
      weights: weights ?? "\(recipe.name).safetensors", folder: output ?? recipe.name,
      count: count, layer: layer)
    let outcome = try recipe.drawPictures(
      request, options(), compile: execution.compileOptions)
    if json { return try Output.line(outcome.json) }
    for (path, content) in outcome.files { try Output.line("\(path): \(content)") }
    for (number, image) in outcome.images.enumerated() {
      let verdict = image.label == image.prediction ? "right" : "a \(image.label)"
      try Output.line("image \(number + 1): \(image.prediction), \(verdict)")
    }
  }
}

extension PictureOutcome {
  /// The pictures and what the network says, for programs.
  fileprivate var json: JSON {
    .object([
      ("event", "pictures"),
      (
        "files",
        .array(
          files.map { .object([("path", .string($0.path)), ("content", .string($0.content))]) })
      ),
      (
        "images",
        .array(
          images.map {
            .object([("label", .string($0.label)), ("prediction", .string($0.prediction))])
          })
      ),
    ])
  }
}
