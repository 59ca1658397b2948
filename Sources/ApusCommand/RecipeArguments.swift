// How a recipe and its options are named on the command line.

import Apus
import ApusRecipes
import ArgumentParser

/// A recipe's name and, after it, options of its own: `fashion-mnist --hidden 256`.
///
/// Recipes' options are data, which ArgumentParser does not know: it hands over all that it does not
/// recognise, in the order in which it was written.
struct RecipeArguments: ParsableArguments {
  @Argument(
    parsing: .allUnrecognized,
    help: ArgumentHelp(
      "The recipe, and options of its own (apus train --list): \(Self.names).",
      valueName: "recipe"))
  var words: [String] = []

  /// The configuration file that stands in a recipe's place, if one does.
  var configurationFile: String? { words.first.flatMap { ConfigurationFile.isOne($0) ? $0 : nil } }

  private static var names: String { recipes.map(\.name).joined(separator: ", ") }

  /// The recipe.
  ///
  /// - Throws: usage errors.
  func recipe() throws -> any Recipe {
    guard let name = words.first else {
      throw ValidationError("Missing expected argument '<recipe>': one of \(Self.names).")
    }
    guard !name.hasPrefix("-") else {
      throw ValidationError("Unknown option '\(name)' before the recipe's name.")
    }
    return try usage { try recipes.named(name) }
  }

  /// The recipe's options: its own, and those that the command has flags for where they were given.
  ///
  /// - Throws: usage errors.
  func options(_ flags: [(option: String, text: String?)] = []) throws -> RecipeOptions {
    var options = try recipe().defaults
    func set(_ name: String, _ text: String) throws {
      try usage { try options.set(name, to: text) }
    }
    for (name, text) in flags { if let text { try set(name, text) } }
    var rest = words.dropFirst()
    while let word = rest.popFirst() {
      guard word.hasPrefix("--"), word.count > 2 else {
        throw ValidationError("Unexpected argument '\(word)' after \(options.recipe).")
      }
      let parts = word.dropFirst(2).split(
        separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard options.declarations.contains(where: { $0.name == name }) else {
        let names = options.declarations.map { "--\($0.name)" }.joined(separator: ", ")
        throw ValidationError(
          "\(options.recipe) has no option '--\(name)': one of \(names) is expected.")
      }
      guard let text = parts.count == 2 ? String(parts[1]) : rest.popFirst() else {
        throw ValidationError("Missing value for '--\(name) <\(name)>'.")
      }
      try set(name, text)
    }
    return options
  }
}

/// Runs what reads a command's arguments: its mistakes are usage errors.
func usage<R>(_ body: () throws -> R) throws -> R {
  do { return try body() } catch let error as ApusError { throw error.asUsage }
}

extension ApusError {
  /// An error of options as a usage error: `--epochs is 0: at least 1 is expected.`
  var asUsage: ValidationError {
    let option = kind == .invalidArgument ? "--" : ""
    let expected = expected.map { ": \($0) is expected" } ?? ""
    return ValidationError("\(option)\(what)\(expected).")
  }
}
