// Configuration files: YAML through Yams, JSON through our own parser; both as the tree that knows its lines.

import Apus
import ApusRecipes
import Foundation
import Yams

enum ConfigurationFile {
  static let endings = [".yaml", ".yml", ".json"]
  /// Bytes; and values, keys included.
  private static let most = (bytes: 1 << 20, nodes: 100_000, depth: 64)

  static func isOne(_ word: String) -> Bool {
    endings.contains { word.lowercased().hasSuffix($0) }
  }

  /// The run that a file describes.
  ///
  /// - `settings`: what is set otherwise: `optimizer.rate=3e-4`; the last of several for one key counts.
  /// - Throws: `io` where the file cannot be read, `invalidFile` with line and column where it is no YAML or JSON, and what
  ///   reading a configuration throws.
  static func run(_ path: String, setting settings: [String]) throws -> RunConfiguration {
    var node = try node(path)
    for setting in settings { try node.set(setting) }
    let file = (path as NSString).lastPathComponent
    let stem = (file as NSString).deletingPathExtension
    return try RunConfiguration(node, name: stem)
  }

  /// Whether a file describes a recipe of the command rather than a model.
  static func hasRecipe(_ path: String) throws -> Bool { try node(path).hasKey("recipe") }

  private static func node(_ path: String) throws -> ConfigurationNode {
    let text = try TextFile.contents(path, limit: most.bytes, expected: "a configuration")
    if path.lowercased().hasSuffix(".json") {
      return try ConfigurationNode(json: text, path: path)
    }
    try refuseAnchors(text, path)
    do {
      guard let root = try Yams.compose(yaml: text) else {
        throw ApusError(
          .invalidFile, "the file says nothing", at: path, expected: "a group of keys")
      }
      var budget = most.nodes
      return try converted(root, path, "\(path):1:1", most.depth, &budget)
    } catch let error as YamlError { throw error.ours(path) }
  }

  /// A few anchors that hold each other stand for more values than any memory has, and are looked through before we see
  /// them: there are none in configurations.
  private static func refuseAnchors(_ text: String, _ path: String) throws {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      let code = line.prefix { $0 != "#" }
      guard let match = code.firstMatch(of: /(?:^|[\s\[\{,:\-?!])&[^\s,\]\}]/) else { continue }
      let column =
        line.unicodeScalars.distance(
          from: line.startIndex, to: match.range.upperBound) - 1
      throw ApusError(
        .unsupported, "the file names a value for use elsewhere, '&…'",
        at: "\(path):\(number + 1):\(column)", expected: "values where they are used")
    }
  }

  /// - `budget`: values that may still come.
  private static func converted(
    _ node: Yams.Node, _ path: String, _ outer: String, _ depth: Int, _ budget: inout Int
  ) throws -> ConfigurationNode {
    let place = node.mark.map { "\(path):\($0)" } ?? outer
    budget -= 1
    guard budget >= 0, depth >= 0 else {
      throw ApusError(
        .invalidFile,
        depth < 0 ? "groups stand too deep in each other" : "there are too many values",
        at: place, expected: "at most \(most.depth) levels and \(most.nodes) values")
    }
    switch node {
    case .scalar(let scalar):
      let isPlain = scalar.style == .plain || scalar.style == .any
      return ConfigurationNode(.scalar(scalar.string, isQuoted: !isPlain), at: place)
    case .sequence(let sequence):
      return ConfigurationNode(
        .list(try sequence.map { try converted($0, path, place, depth - 1, &budget) }), at: place)
    case .mapping(let mapping):
      return ConfigurationNode(
        .map(
          try mapping.map { key, value in
            let keyPlace = key.mark.map { "\(path):\($0)" } ?? place
            guard case .scalar(let name) = key else {
              throw ApusError(
                .invalidFile, "a key is a list or a group", at: keyPlace, expected: "a text")
            }
            budget -= 1
            return .init(
              name.string, at: keyPlace,
              try converted(value, path, keyPlace, depth - 1, &budget))
          }), at: place)
    case .alias:
      throw ApusError(
        .unsupported, "a value is one that stands elsewhere, '*…'", at: place,
        expected: "values where they are used")
    }
  }
}

extension YamlError {
  /// The error as one of ours, with line and column.
  fileprivate func ours(_ path: String) -> ApusError {
    func error(_ what: String, _ mark: Mark?) -> ApusError {
      ApusError(
        .invalidFile, "no YAML: \(what)", at: mark.map { "\(path):\($0)" } ?? path,
        expected: "keys and values, indented by spaces")
    }
    switch self {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return error(problem, mark)
    case .reader(let problem, _, _, _): return error(problem, nil)
    case .duplicatedKeysInMapping(let duplicates, let context):
      return error("the key '\(duplicates.first ?? "")' stands twice", context.mark)
    default: return error("\(self)", nil)
    }
  }
}
