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

  /// Keeps steps from training the parameters, from the next step on.
  public func freeze() { for (_, parameter) in parameters { parameter.isTrainable = false } }

  /// Lets steps train the parameters again. Their optimiser slots are as they were left.
  public func unfreeze() { for (_, parameter) in parameters { parameter.isTrainable = true } }

  /// Keeps steps from training the parameters that match a pattern, such as `encoder.*` or `*.bias`.
  ///
  /// - Returns: how many match.
  /// - Throws: `missing` where none does.
  @discardableResult
  public func freeze(_ pattern: String) throws -> Int {
    let chosen = try parameters(matching: pattern)
    for (_, parameter) in chosen { parameter.isTrainable = false }
    return chosen.count
  }

  /// Lets steps train the parameters that match a pattern again.
  ///
  /// - Returns: how many match.
  /// - Throws: `missing` where none does.
  @discardableResult
  public func unfreeze(_ pattern: String) throws -> Int {
    let chosen = try parameters(matching: pattern)
    for (_, parameter) in chosen { parameter.isTrainable = true }
    return chosen.count
  }
}
