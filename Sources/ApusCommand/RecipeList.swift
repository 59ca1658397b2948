// The list of recipes as people and programs read it.

import Apus
import ApusRecipes

/// Recipes and their options, for `--list` and for help.
enum RecipeList {
  /// A line a recipe.
  static func summaries(_ recipes: [any Recipe]) -> String {
    let width = recipes.map(\.name.count).max() ?? 0
    return recipes.map { "\($0.name.padded(to: width))  \($0.summary)" }.joined(separator: "\n")
  }

  /// All there is to know about a recipe.
  static func text(_ recipe: any Recipe) -> String {
    var lines = ["\(recipe.name): \(recipe.summary)", "  \(recipe.discussion)"]
    if let recipe = recipe as? any SupervisedRecipe {
      let better = recipe.metric.goal == .larger ? "larger" : "smaller"
      lines.append("  Judged by the \(recipe.metric.name) on held-out data; \(better) is better.")
    }
    let names = recipe.options.map { "--\($0.name) \($0.initial.optionText)" }
    let width = names.map(\.count).max() ?? 0
    for (name, option) in zip(names, recipe.options) {
      lines.append("  \(name.padded(to: width))  \(option.help) (\(option.expectation))")
    }
    return lines.joined(separator: "\n")
  }

  static func json(_ recipe: any Recipe) -> JSON {
    let options = recipe.options.map { option in
      JSON.object([
        ("option", .string(option.name)), ("default", .string(option.initial.optionText)),
        ("expected", .string(option.expectation)), ("help", .string(option.help)),
      ])
    }
    return .object([
      ("recipe", .string(recipe.name)), ("summary", .string(recipe.summary)),
      ("trains", .bool(recipe is any TrainableRecipe)), ("options", .array(options)),
    ])
  }
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(width - count, 0))
  }
}
