// The values of a recipe's options.

import Apus

/// The values of one recipe's options: the defaults, and what was set.
///
///     var options = recipe.defaults
///     try options.set("batch", to: "128")
///     options.batch                              // 128
///     options[FashionMNISTRecipe.hidden]         // 128, the default
///
/// All values go in as text, whoever reads it: a command line or a file.
package struct RecipeOptions: Sendable {
  /// The recipe's name.
  package let recipe: String
  package let declarations: [any OptionDeclaration]
  private var values: [String: any OptionValue]

  init(of recipe: any Recipe) {
    self.recipe = recipe.name
    declarations = recipe.options
    values = Dictionary(declarations.map { ($0.name, $0.initial) }, uniquingKeysWith: { a, _ in a })
  }

  /// The value of an option; its own default where the recipe does not have it.
  package subscript<Value>(option: RecipeOption<Value>) -> Value {
    values[option.name] as? Value ?? option.defaultValue
  }

  /// Sets an option.
  ///
  /// - Throws: `missing` naming the recipe's options where that is none of them; `invalidArgument` with the
  ///   option, the text and what was expected. Nothing is changed then.
  package mutating func set(_ name: String, to text: String) throws {
    guard let option = declarations.first(where: { $0.name == name }) else {
      throw ApusError(
        .missing, "\(recipe) has no option '\(name)'",
        expected: "one of \(declarations.map(\.name).joined(separator: ", "))")
    }
    values[name] = try option.value(text)
  }

  /// These options with the values that others have for the same names, epochs and seed aside: those a
  /// configuration says itself.
  func taking(_ others: RecipeOptions) -> RecipeOptions {
    var result = self
    let aside = [CommonOption.epochs.name, CommonOption.seed.name]
    for option in declarations where !aside.contains(option.name) {
      if let value = others.values[option.name] { result.values[option.name] = value }
    }
    return result
  }

  /// What determines the bits of a run, as checkpoints keep it, with the options' names.
  var settings: [(key: String, option: String, value: String)] {
    declarations.compactMap { option in
      option.setting.map { ($0, option.name, (values[option.name] ?? option.initial).optionText) }
    }
  }

  /// All values as texts, in the order of the declarations; without those that nobody has set and that have no default.
  package var texts: [(name: String, value: String)] {
    declarations.map { ($0.name, (values[$0.name] ?? $0.initial).optionText) }
      .filter { !$0.1.isEmpty }
  }

  package var epochs: Int { self[CommonOption.epochs] }
  package var batch: Int { self[CommonOption.batch] }
  package var learningRate: Double { self[CommonOption.learningRate] }
  package var seed: UInt64 { self[CommonOption.seed] }
  package var data: String? { self[CommonOption.data] }
}
