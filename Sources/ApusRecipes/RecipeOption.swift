// What an option of a recipe is: a name, a type, a default, what it may be. Options are data, so that a
// command line, a file and a program fill the same values.

import Apus

/// A type that an option may have.
package protocol OptionValue: Sendable, Hashable {
  /// What a user writes: "a whole number".
  static var kind: String { get }
  /// The value that a text stands for; nil where it stands for none.
  init?(optionText text: String)
  /// The text that stands for the value.
  var optionText: String { get }
}

extension Int: OptionValue {
  package static var kind: String { "a whole number" }
  package init?(optionText text: String) { self.init(text) }
  package var optionText: String { "\(self)" }
}

extension UInt64: OptionValue {
  package static var kind: String { "a whole number, at least 0" }
  package init?(optionText text: String) { self.init(text) }
  package var optionText: String { "\(self)" }
}

extension Double: OptionValue {
  package static var kind: String { "a number" }
  package init?(optionText text: String) { self.init(text) }
  package var optionText: String { "\(self)" }
}

extension String: OptionValue {
  package static var kind: String { "a text" }
  package init?(optionText text: String) { self = text }
  package var optionText: String { self }
}

extension Optional: OptionValue where Wrapped: OptionValue {
  package static var kind: String { Wrapped.kind }
  package init?(optionText text: String) {
    guard let value = Wrapped(optionText: text) else { return nil }
    self = .some(value)
  }
  package var optionText: String { self?.optionText ?? "" }
}

/// The values that an option may have.
package struct OptionRange<Value: OptionValue>: Sendable {
  /// In words: "at least 1".
  package let description: String
  let contains: @Sendable (Value) -> Bool

  /// All of the type.
  package static var any: OptionRange { OptionRange(description: Value.kind) { _ in true } }
}

extension OptionRange where Value: Comparable {
  /// From a value on.
  package static func atLeast(_ least: Value) -> OptionRange {
    OptionRange(description: "at least \(least.optionText)") { $0 >= least }
  }

  /// Between two values, both included.
  package static func between(_ least: Value, _ most: Value) -> OptionRange {
    OptionRange(description: "\(Value.kind) from \(least.optionText) to \(most.optionText)") {
      least <= $0 && $0 <= most
    }
  }
}

extension OptionRange<Double> {
  /// What a rate may be: finite and above 0.
  package static var positive: OptionRange {
    OptionRange(description: "a finite number above 0") { $0 > 0 && $0.isFinite }
  }
}

extension OptionRange<String> {
  /// One of some words.
  package static func oneOf(_ words: String...) -> OptionRange {
    OptionRange(description: "one of \(words.joined(separator: ", "))") { words.contains($0) }
  }
}

/// An option, and the key to its value.
///
///     static let hidden = RecipeOption("hidden", default: 128, .between(1, 1 << 16), "Hidden units.")
///     …
///     Linear(784, options[Self.hidden])
package struct RecipeOption<Value: OptionValue>: OptionDeclaration {
  package let name: String
  package let help: String
  package let range: OptionRange<Value>
  package private(set) var defaultValue: Value
  package let setting: String?

  /// - `name`: as on the command line, without dashes: `learning-rate`.
  /// - `range`: what is refused otherwise.
  /// - `help`: a sentence.
  /// - `isSetting`: whether the bits of a run depend on the value, so that a run is resumed with the same.
  package init(
    _ name: String, default value: Value, _ range: OptionRange<Value> = .any, _ help: String,
    isSetting: Bool = true
  ) {
    self.init(
      name, default: value, range, help, setting: isSetting ? "apus.option.\(name)" : nil)
  }

  /// - `setting`: what checkpoints call it.
  init(
    _ name: String, default value: Value, _ range: OptionRange<Value>, _ help: String,
    setting: String?
  ) {
    self.name = name
    self.help = help
    self.range = range
    defaultValue = value
    self.setting = setting
  }

  /// The same option with the default of one recipe.
  package func with(default value: Value) -> RecipeOption {
    var option = self
    option.defaultValue = value
    return option
  }

  package var expectation: String { range.description }
  package var initial: any OptionValue { defaultValue }

  package func value(_ text: String) throws -> any OptionValue {
    guard let value = Value(optionText: text) else {
      throw ApusError(.invalidArgument, "\(name) is '\(text)'", expected: Value.kind)
    }
    guard range.contains(value) else {
      throw ApusError(.invalidArgument, "\(name) is \(text)", expected: range.description)
    }
    return value
  }
}

/// An option of any type.
package protocol OptionDeclaration: Sendable {
  /// As on the command line, without dashes.
  var name: String { get }
  /// What it is for: a sentence.
  var help: String { get }
  /// What it may be, in words.
  var expectation: String { get }
  /// What it is where nothing is said.
  var initial: any OptionValue { get }
  /// What checkpoints call it; nil where the bits of a run do not depend on it.
  var setting: String? { get }
  /// The value that a text stands for.
  ///
  /// - Throws: `invalidArgument` with name, text, and what was expected.
  func value(_ text: String) throws -> any OptionValue
}

/// The options that many recipes have, which have flags of their own on the command line.
package enum CommonOption {
  package static let epochs = RecipeOption<Int>(
    "epochs", default: 1, .between(1, 1 << 20), "Passes over the training data.", setting: nil)
  package static let batch = RecipeOption<Int>(
    "batch", default: 64, .between(1, 1 << 20), "Examples a step.", setting: "apus.batch")
  package static let learningRate = RecipeOption<Double>(
    "learning-rate", default: 1e-3, .positive, "The first learning rate.",
    setting: "apus.learning_rate")
  package static let seed = RecipeOption<UInt64>(
    "seed", default: 0, .any, "Determines first weights and the order of the data.",
    setting: "apus.seed")
  package static let data = RecipeOption<String?>(
    "data", default: nil, .any, "The data set's folder, where it is not the usual one.",
    setting: nil)
}
