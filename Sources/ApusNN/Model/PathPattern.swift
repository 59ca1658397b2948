// Parameters chosen by their paths.

import ApusGraph

/// A pattern for paths: `*` (or `**`) stands for any run of characters, dots included, and `?` for one. `*.` at
/// the beginning also stands for nothing.
///
///     try model.freeze("encoder.*")   // all within the encoder, however deep
///     try model.freeze("*.bias")      // every bias, also the model's own
///     try model.freeze("*norm*")      // all whose path says norm
package struct PathPattern {
  private let pattern: [Character]

  package init(_ pattern: String) { self.pattern = Array(pattern) }

  /// Whether the whole path fits.
  package func matches(_ path: String) -> Bool {
    let text = Array(path)
    if matches(text, from: 0) { return true }
    // `*.bias` is every bias, and a path of one name has no dot before it.
    let stars = pattern.prefix { $0 == "*" }.count
    guard stars > 0, stars < pattern.count, pattern[stars] == "." else { return false }
    return matches(text, from: stars + 1)
  }

  private func matches(_ text: [Character], from start: Int) -> Bool {
    // The classic walk with one place to come back to: linear but for runs of stars.
    var p = start, t = 0
    var star: (p: Int, t: Int)?
    while t < text.count {
      if p < pattern.count, pattern[p] == "*" {
        star = (p, t)
        p += 1
      } else if p < pattern.count, pattern[p] == "?" || pattern[p] == text[t] {
        p += 1
        t += 1
      } else if let last = star {
        star = (last.p, last.t + 1)
        p = last.p + 1
        t = last.t + 1
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == "*" }
  }
}

extension Module {
  /// The parameters whose paths match a pattern.
  ///
  /// - `pattern`: `*` stands for any run of characters, dots included, and `?` for one; `*.` at the
  ///   beginning also for nothing, so that `*.bias` is every bias.
  /// - Throws: `missing` where none does: a pattern that matches nothing is a mistake.
  public func parameters(matching pattern: String) throws -> [(path: String, parameter: Parameter)]
  {
    let all = parameters
    let chosen = all.filter { PathPattern(pattern).matches($0.path) }
    guard !chosen.isEmpty else {
      throw ApusError(
        .missing, "no parameter's path matches '\(pattern)'",
        expected: all.isEmpty
          ? "a model with parameters" : all.prefix(6).map(\.path).joined(separator: ", "))
    }
    return chosen
  }

  /// Keeps all parameters and buffers as they are, from the next step on: no step trains the one or updates the
  /// other. A ``BatchNorm`` uses its running estimates then, in training too.
  public func freeze() { for (_, state) in ModelTree(self).states { state.isKept = true } }

  /// Lets steps train the parameters and update the buffers again. The slots of optimisers are as they were left.
  public func unfreeze() { for (_, state) in ModelTree(self).states { state.isKept = false } }

  /// Keeps the parameters and buffers that match a pattern as they are, such as `encoder.*` or `*.bias`.
  ///
  ///     try model.freeze("layer1.*")
  ///     try model.freeze("*.running_*")   // normalise by the estimates; weights and biases learn
  ///
  /// - Returns: how many match.
  /// - Throws: `missing` where none does.
  @discardableResult
  public func freeze(_ pattern: String) throws -> Int { try keep(pattern, true) }

  /// Lets steps train and update again what matches a pattern.
  ///
  /// - Returns: how many match.
  /// - Throws: `missing` where none does.
  @discardableResult
  public func unfreeze(_ pattern: String) throws -> Int { try keep(pattern, false) }

  private func keep(_ pattern: String, _ isKept: Bool) throws -> Int {
    let all = ModelTree(self).states
    let matcher = PathPattern(pattern)
    let chosen = all.filter { matcher.matches($0.path) }
    guard !chosen.isEmpty else {
      throw ApusError(
        .missing, "no path of a parameter or buffer matches '\(pattern)'",
        expected: all.isEmpty
          ? "a model with parameters" : all.prefix(6).map(\.path).joined(separator: ", "))
    }
    for (_, state) in chosen { state.isKept = isKept }
    return chosen.count
  }
}
