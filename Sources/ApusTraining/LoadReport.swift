// What came of loading weights, and what an error says of it.

import ApusGraph

/// What came of loading weights.
public struct LoadReport: Sendable, Equatable {
  /// The states that were read, by their paths in the model.
  public var loaded: [String] = []
  /// Paths of the model that the file does not have: they kept their old values, or have none.
  public var missing: [String] = []
  /// Arrays of the file that are nothing of the model's, by their names in the file.
  public var unexpected: [String] = []
  /// States that stand in the file with another shape, with both: they kept their old values, or have none.
  public var mismatched: [String] = []
  /// What `except` has left alone, of either side.
  public var excepted: [String] = []
  /// What was stored in another element type, with both types.
  public var converted: [String] = []

  /// - Throws: `missing` naming what either side lacks.
  func requireComplete(
    at path: String,
    expected: String = "a file of this model, or strict: false to read what both have"
  ) throws {
    guard !missing.isEmpty || !unexpected.isEmpty else { return }
    func list(_ names: [String]) -> String {
      names.prefix(6).map { "'\($0)'" }.joined(separator: ", ")
        + (names.count > 6 ? " and \(names.count - 6) more" : "")
    }
    let parts =
      (missing.isEmpty ? [] : ["the file has no \(list(missing))"])
      + (unexpected.isEmpty ? [] : ["the model has no \(list(unexpected))"])
    let hint = renaming.map { "; renaming: [\"\($0.key)\": \"\($0.value)\"] fits" } ?? ""
    throw ApusError(
      .missing, parts.joined(separator: "; "), at: path, expected: expected + hint)
  }

  /// A prefix that the names of one side have and those of the other have not, where that explains most of what
  /// is missing: `module.`, `backbone.`.
  private var renaming: (key: String, value: String)? {
    guard let first = missing.first else { return nil }
    let surplus = Set(unexpected), lacking = Set(missing)
    func explains(_ key: String, _ value: String) -> Bool {
      let found = unexpected.count { name in
        name.hasPrefix(key) && lacking.contains(value + name.dropFirst(key.count))
      }
      return 2 * found > missing.count
    }
    for name in unexpected {
      if name.hasSuffix("." + first) {
        let prefix = String(name.dropLast(first.count))
        if explains(prefix, "") { return (prefix, "") }
      }
      if first.hasSuffix("." + name), surplus.contains(name) {
        let prefix = String(first.dropLast(name.count))
        if explains("", prefix) { return ("", prefix) }
      }
    }
    return nil
  }
}
