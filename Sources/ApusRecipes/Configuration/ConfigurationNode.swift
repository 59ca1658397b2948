// A configuration file as a tree that knows where everything stands, whatever language it was written in.

import Apus

/// A value of a configuration file, and its place.
package struct ConfigurationNode: Sendable {
  /// What there may be.
  package enum Content: Sendable {
    /// A scalar as it is written; a quoted one is a text whatever it looks like.
    case scalar(String, isQuoted: Bool)
    case list([ConfigurationNode])
    case map([Member])
  }

  /// A key and its value.
  package struct Member: Sendable {
    package var key: String
    /// Of the key.
    package var place: String
    package var value: ConfigurationNode

    package init(_ key: String, at place: String, _ value: ConfigurationNode) {
      self.key = key
      self.place = place
      self.value = value
    }
  }

  package var content: Content
  /// `run.yaml:3:7`, line and column from 1 on; or `--set optimizer.rate=3e-4`.
  package var place: String

  package init(_ content: Content, at place: String) {
    self.content = content
    self.place = place
  }

  /// An empty map.
  static func none(at place: String) -> ConfigurationNode {
    ConfigurationNode(.map([]), at: place)
  }

  var members: [Member]? { if case .map(let members) = content { members } else { nil } }

  subscript(key: String) -> ConfigurationNode? { members?.first { $0.key == key }?.value }

  /// Whether it is a group with that key.
  package func hasKey(_ key: String) -> Bool { self[key] != nil }

  /// Whether it says that there is nothing: `null`, `~`, or no value behind a key.
  var isNull: Bool {
    guard case .scalar(let text, isQuoted: false) = content else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(text)
  }

  /// What it is, for errors: `'fast'`, `a list`.
  var description: String {
    switch content {
    case .scalar(let text, _): isNull ? "empty" : "'\(text.prefix(60))'"
    case .list: "a list"
    case .map: "a group of keys"
    }
  }
}

extension ConfigurationNode {
  /// The tree of a JSON text.
  ///
  /// - `path`: of the file, for places.
  /// - Throws: `invalidFile` with line and column of what is no JSON.
  package init(json text: String, path: String) throws {
    let bytes = Array(text.utf8)
    let lines = LineStarts(bytes)
    var offsets: [Int] = []
    let value: JSON
    do {
      value = try JSON(parsing: bytes, notingIn: &offsets)
    } catch let error as ApusError {
      let offset = error.location?.split(separator: " ").last.flatMap { Int($0) } ?? 0
      throw ApusError(
        .invalidFile, error.what, at: lines.place(of: offset, in: path), expected: error.expected)
    }
    var places = offsets.map { lines.place(of: $0, in: path) }[...]
    self.init(value, &places)
  }

  private init(_ value: JSON, _ places: inout ArraySlice<String>) {
    place = places.popFirst() ?? ""
    switch value {
    case .null: content = .scalar("null", isQuoted: false)
    case .bool(let value): content = .scalar("\(value)", isQuoted: false)
    case .integer(let value): content = .scalar("\(value)", isQuoted: false)
    case .number(let value): content = .scalar("\(value)", isQuoted: false)
    case .string(let value): content = .scalar(value, isQuoted: true)
    case .array(let values):
      content = .list(values.map { ConfigurationNode($0, &places) })
    case .object(let members):
      content = .map(
        members.map { key, value in
          let place = places.popFirst() ?? ""
          return Member(key, at: place, ConfigurationNode(value, &places))
        })
    }
  }
}

/// Where the lines of a text begin.
private struct LineStarts {
  private let bytes: [UInt8]
  private let starts: [Int]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    starts = [0] + bytes.indices.filter { bytes[$0] == 0x0a }.map { $0 + 1 }
  }

  /// `run.json:3:7`; columns count characters of Unicode, as YAML's do.
  func place(of offset: Int, in path: String) -> String {
    var (low, high) = (0, starts.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= offset { low = middle } else { high = middle }
    }
    let before = bytes[starts[low]..<min(max(offset, starts[low]), bytes.count)]
    let column = before.count { $0 & 0xc0 != 0x80 } + 1
    return "\(path):\(low + 1):\(column)"
  }
}

// MARK: Overrides

extension ConfigurationNode {
  /// Sets the value that `assignment` names: `optimizer.rate=3e-4`, `model.1.linear.units=64`.
  ///
  /// Keys that are not there are made; whether they are known is found when the tree is read. A place in a list is
  /// its number, from 0 on. What stands right of `=` is a scalar as in the file, or JSON where it begins with a
  /// bracket.
  ///
  /// - Throws: `invalidArgument` for what is no assignment, and a number that the list does not have.
  package mutating func set(_ assignment: String) throws {
    let place = "--set \(assignment)"
    guard let equals = assignment.firstIndex(of: "="), equals > assignment.startIndex else {
      throw ApusError(
        .invalidArgument, "'\(assignment)' sets nothing", at: "--set",
        expected: "key=value, such as optimizer.rate=3e-4")
    }
    let path = assignment[..<equals].split(separator: ".", omittingEmptySubsequences: false)
      .map(String.init)
    guard path.allSatisfy({ !$0.isEmpty }) else {
      throw ApusError(
        .invalidArgument, "'\(assignment[..<equals])' is no key", at: "--set",
        expected: "names with points between, such as optimizer.rate")
    }
    let text = String(assignment[assignment.index(after: equals)...])
    var value = ConfigurationNode(.scalar(text, isQuoted: false), at: place)
    if let first = text.first, "[{\"".contains(first) {
      do {
        value = try ConfigurationNode(json: text, path: "").moved(to: place)
      } catch var error as ApusError {
        error.location = place
        error.kind = .invalidArgument
        throw error
      }
    }
    try set(path[...], to: value, place)
  }

  private mutating func set(
    _ path: ArraySlice<String>, to value: ConfigurationNode, _ place: String
  ) throws {
    guard let key = path.first else {
      self = value
      return
    }
    switch content {
    case .map(var members):
      if let index = members.firstIndex(where: { $0.key == key }) {
        try members[index].value.set(path.dropFirst(), to: value, place)
        members[index].place = path.count == 1 ? place : members[index].place
      } else {
        var new = Self.none(at: place)
        try new.set(path.dropFirst(), to: value, place)
        members.append(Member(key, at: place, new))
      }
      content = .map(members)
    case .list(var elements):
      guard let index = Int(key), elements.indices.contains(index) else {
        throw ApusError(
          .invalidArgument, "the list has no element '\(key)'", at: place,
          expected: elements.isEmpty ? "a list with elements" : "0 to \(elements.count - 1)")
      }
      try elements[index].set(path.dropFirst(), to: value, place)
      content = .list(elements)
    case .scalar:
      // `optimizer: adamw` is short for `optimizer: { name: adamw }`.
      content = .map(isNull ? [] : [Member("name", at: self.place, self)])
      try set(path, to: value, place)
    }
  }

  private func moved(to place: String) -> ConfigurationNode {
    var node = self
    node.place = place
    switch content {
    case .scalar: break
    case .list(let elements): node.content = .list(elements.map { $0.moved(to: place) })
    case .map(let members):
      node.content = .map(members.map { Member($0.key, at: place, $0.value.moved(to: place)) })
    }
    return node
  }
}
