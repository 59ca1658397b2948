// Recipes on the command line: the list that help prints, options of a recipe's own, what is refused.

import Apus
import ApusRecipes
import Foundation
import Testing

@Suite struct RecipeTests {
  /// Help as one line: the terminal's width breaks it anywhere.
  private func help(_ command: String...) throws -> String {
    let run = try CommandProcess(command + ["--help"]).finish()
    #expect(run.status == 0)
    return run.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }

  @Test func helpPrintsTheList() throws {
    let train = try help("train"), dump = try help("dump"), bench = try help("bench", "train")
    for recipe in recipes {
      let line = "\(recipe.name) \(recipe.summary)"
      #expect(dump.contains(line) && bench.contains(line), "\(line)")
      #expect(train.contains(line) == (recipe is any TrainableRecipe), "\(line)")
    }
  }

  @Test func listTellsEveryOption_asTextAndAsJSON() throws {
    let text = try apus("train", "--list")
    let json = try apus("train", "--list", "--json")
    #expect(text.status == 0 && json.status == 0 && text.errors.isEmpty && json.errors.isEmpty)
    let lines = try json.lines.map { try JSON(parsing: $0) }
    #expect(lines.map { $0["recipe"]?.string } == recipes.map(\.name))
    for (recipe, line) in zip(recipes, lines) {
      #expect(text.output.contains("\(recipe.name): \(recipe.summary)"))
      #expect(line["trains"]?.bool == (recipe is any TrainableRecipe))
      let options = line["options"]?.elements ?? []
      #expect(options.map { $0["option"]?.string } == recipe.options.map(\.name))
      for option in recipe.options { #expect(text.output.contains("--\(option.name)")) }
    }
    let one = try apus("train", "mlp_tiny", "--list")
    #expect(one.output.contains("mlp_tiny") && !one.output.contains("mlp_small"))
  }

  @Test(arguments: [["--hidden", "8"], ["--hidden=8"]])
  func optionsOfARecipesOwn_comeAfterItsName(option: [String]) throws {
    let run = try CommandProcess(
      ["dump", "fashion-mnist"] + option + ["--stage", "trace", "--batch", "3"]
    ).finish()
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.output.contains("\"hidden.weight\" : f32[8,784]"))
    #expect(run.output.contains("\"images\" : f32[3,28,28,1]"))
  }

  @Test func aCheckpointOfAnotherOption_isRefusedWithItsName() throws {
    try withFolder { folder in
      let path = folder.appendingPathComponent("c.safetensors").path
      try SafetensorsFile.write(
        ["x": NDArray(1)], metadata: ["apus.option.hidden": "64"], to: path)
      let run = try apus(
        "train", "fashion-mnist", "--hidden", "32", "--resume", path, "--output",
        folder.appendingPathComponent("w").path)
      #expect(run.status == 1 && run.output.isEmpty)
      #expect(run.errors.contains("--hidden 64, not 32"), "\(run.errors)")
    }
  }

  @Test(arguments: [
    (["train", "mlp_large"], "mlp_large has no data to learn from"),
    (["train", "mlp_large"], "one of fashion-mnist, fashion-mnist-cnn"),
    (["train", "imagenet", "--list"], "'imagenet'"),
    (["train", "fashion-mnist", "--hidden"], "Missing value for '--hidden"),
    (["train", "fashion-mnist", "--hidden", "0"], "--hidden is 0: a whole number from 1"),
    (["train", "fashion-mnist", "--hidden", "wide"], "--hidden is 'wide'"),
    (["train", "fashion-mnist", "--colour", "red"], "no option '--colour'"),
    (["train", "fashion-mnist", "twice"], "Unexpected argument 'twice'"),
    (["train", "--hidden", "8", "fashion-mnist"], "'--hidden' before the recipe's name"),
    (["dump", "mlp_small", "--hidden", "8"], "mlp_small has no option '--hidden'"),
    (["dump", "mlp_small", "--step", "generator"], "no step 'generator'"),
    (["dump"], "Missing expected argument"),
    (["bench", "train", "imagenet"], "'imagenet'"),
    (["bench", "train", "--batch", "0"], "--batch is 0"),
    (["bench", "train", "--batch", "9000000000000000000"], "--batch is 9000000000000000000"),
  ])
  func senselessOptions_exitWith64(arguments: [String], words: String) throws {
    let run = try CommandProcess(arguments).finish()
    #expect(run.status == 64 && run.output.isEmpty, "\(run.errors)")
    #expect(run.errors.contains(words), "\(run.errors)")
    #expect(run.errors.contains("Usage: apus"))
  }

  @Test func anyRecipeIsTimed() throws {
    let run = try apus(
      "bench", "train", "fashion-mnist", "--batch", "8", "--seconds", "0.02", "--json")
    #expect(run.status == 0, "\(run.errors)")
    let line = try JSON(parsing: run.lines.last ?? "")
    #expect(line["workload"] == "fashion-mnist" && line["batch"] == 8)
    #expect(try #require(line["gflops"]?.double) > 0)
  }
}
