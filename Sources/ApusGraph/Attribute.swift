// The attributes of an op: what is fixed when the graph is built.

/// A named attribute.
package struct Attribute: Sendable, Hashable {
  package var name: String
  package var value: AttributeValue

  package init(_ name: String, _ value: AttributeValue) {
    self.name = name
    self.value = value
  }
}

/// The value of an attribute. Each has one text form, which parses back to itself.
package indirect enum AttributeValue: Sendable, Hashable {
  case int(Int)
  case double(Double)
  case bool(Bool)
  case string(String)
  case dtype(DType)
  case list([AttributeValue])
  /// A region, as an op holds it that runs it.
  case graph(Graph)

  /// A list of integers.
  package static func ints(_ values: [Int]) -> AttributeValue { .list(values.map { .int($0) }) }
}

/// Reads an op's attributes by name when a graph is parsed.
package struct AttributeReader: Sendable {
  private let mnemonic: String
  private let values: [String: AttributeValue]

  package init(mnemonic: String, _ attributes: [Attribute]) {
    self.mnemonic = mnemonic
    values = Dictionary(attributes.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
  }

  private func fail(_ name: String, _ wanted: String) -> ApusError {
    ApusError(
      .parse,
      "\(mnemonic): attribute '\(name)' is \(values[name] == nil ? "missing" : "malformed")",
      expected: wanted)
  }

  /// Whether the attribute is there.
  package func has(_ name: String) -> Bool { values[name] != nil }

  /// The attribute of whatever kind.
  ///
  /// - Throws: `parse` where it is missing, as all readers here do, or of another kind.
  package func value(_ name: String) throws -> AttributeValue {
    guard let value = values[name] else { throw fail(name, "a value") }
    return value
  }

  /// An integer.
  package func int(_ name: String) throws -> Int {
    guard case .int(let value)? = values[name] else { throw fail(name, "an integer") }
    return value
  }

  /// A number, written with or without a point.
  package func double(_ name: String) throws -> Double {
    switch values[name] {
    case .double(let value)?: return value
    case .int(let value)?: return Double(value)
    default: throw fail(name, "a number")
    }
  }

  /// `true` or `false`.
  package func bool(_ name: String) throws -> Bool {
    guard case .bool(let value)? = values[name] else { throw fail(name, "true or false") }
    return value
  }

  /// A string in quotes.
  package func string(_ name: String) throws -> String {
    guard case .string(let value)? = values[name] else { throw fail(name, "a string in quotes") }
    return value
  }

  /// An element type, `f32`.
  package func dtype(_ name: String) throws -> DType {
    guard case .dtype(let value)? = values[name] else { throw fail(name, "an element type") }
    return value
  }

  /// A list in brackets.
  package func list(_ name: String) throws -> [AttributeValue] {
    guard case .list(let value)? = values[name] else { throw fail(name, "a list") }
    return value
  }

  /// A graph in braces.
  package func graph(_ name: String) throws -> Graph {
    guard case .graph(let value)? = values[name] else { throw fail(name, "a graph in braces") }
    return value
  }

  /// A list of integers.
  package func ints(_ name: String) throws -> [Int] {
    try list(name).map {
      guard case .int(let value) = $0 else { throw fail(name, "a list of integers") }
      return value
    }
  }

  /// A case of a string-backed enumeration, written as its raw value in quotes.
  package func choice<T: RawRepresentable & CaseIterable>(_ name: String, _: T.Type = T.self) throws
    -> T
  where T.RawValue == String {
    guard let choice = T(rawValue: try string(name)) else {
      throw fail(name, "one of \(T.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return choice
  }
}
