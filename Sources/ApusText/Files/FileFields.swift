// The members of an object in a file, each named by its path where it is wrong.

import ApusGraph

/// The members of a JSON object, taken one by one.
struct FileFields {
  let path: String
  private let members: [(String, JSON)]

  /// - Throws: `invalidFile` where the value is no object.
  init(_ value: JSON, at path: String) throws {
    guard let members = value.members else { throw Self.wrong(value, path, "an object") }
    self.members = members
    self.path = path
  }

  static func wrong(_ value: JSON, _ path: String, _ expected: String) -> ApusError {
    let text = value.text
    let shown = text.count > 60 ? text.prefix(60) + "…" : text[...]
    return ApusError(.invalidFile, "the value is \(shown)", at: path, expected: expected)
  }

  /// The path of a member.
  func path(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

  /// The member; nil where there is none, or it is null.
  func optional(_ name: String) -> JSON? {
    guard let value = members.first(where: { ByteName($0.0) == ByteName(name) })?.1 else {
      return nil
    }
    if case .null = value { return nil }
    return value
  }

  /// - Throws: `invalidFile` where there is none.
  func value(_ name: String) throws -> JSON {
    guard let value = optional(name) else {
      throw ApusError(
        .invalidFile, "the field '\(name)' is missing", at: path.isEmpty ? "the file" : path,
        expected: "a value for it")
    }
    return value
  }

  func string(_ name: String, default fallback: String? = nil) throws -> String {
    guard let value = optional(name) else {
      if let fallback { return fallback }
      return try { throw missing(name) }()
    }
    guard let text = value.string else { throw Self.wrong(value, path(name), "a string") }
    return text
  }

  func optionalString(_ name: String) throws -> String? {
    guard let value = optional(name) else { return nil }
    guard let text = value.string else { throw Self.wrong(value, path(name), "a string or null") }
    return text
  }

  func bool(_ name: String, default fallback: Bool? = nil) throws -> Bool {
    guard let value = optional(name) else {
      if let fallback { return fallback }
      throw missing(name)
    }
    guard let flag = value.bool else { throw Self.wrong(value, path(name), "true or false") }
    return flag
  }

  /// A whole number that is not negative.
  func count(_ name: String, default fallback: Int? = nil) throws -> Int {
    guard let value = optional(name) else {
      if let fallback { return fallback }
      throw missing(name)
    }
    guard let number = value.integer, (0...Int(UInt32.max)).contains(number) else {
      throw Self.wrong(value, path(name), "a whole number from 0 to \(UInt32.max)")
    }
    return number
  }

  func elements(_ name: String, default fallback: [JSON]? = nil) throws -> [JSON] {
    guard let value = optional(name) else {
      if let fallback { return fallback }
      throw missing(name)
    }
    guard let elements = value.elements else { throw Self.wrong(value, path(name), "a list") }
    return elements
  }

  /// One scalar.
  func scalar(_ name: String) throws -> Unicode.Scalar {
    let text = try string(name)
    guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
      throw Self.wrong(.string(text), path(name), "one character")
    }
    return scalar
  }

  /// One of some names.
  func choice<T: RawRepresentable & CaseIterable>(
    _ name: String, default fallback: T? = nil
  ) throws -> T where T.RawValue == String {
    guard let value = optional(name) else {
      if let fallback { return fallback }
      throw missing(name)
    }
    guard let choice = value.string.flatMap(T.init(rawValue:)) else {
      throw Self.wrong(
        value, path(name), "one of \(T.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return choice
  }

  private func missing(_ name: String) -> ApusError {
    ApusError(
      .invalidFile, "the field '\(name)' is missing", at: path.isEmpty ? "the file" : path,
      expected: "a value for it")
  }

  /// - Throws: `unsupported` naming a member that is none of these.
  func allow(_ names: String...) throws {
    for (name, _) in members where name != "type" && !names.contains(name) {
      throw ApusError(
        .unsupported, "the field '\(name)' is not known", at: path(name),
        expected: names.isEmpty ? "no fields" : "one of \(names.joined(separator: ", "))")
    }
  }
}
