// JSON as a value: what dumps, the command line's `--json` and safetensors headers are made of.
//
// Strict (RFC 8259): no comments, no trailing commas, no two keys of the same bytes, valid UTF-8. Objects
// keep the order of their members, so that equal values give equal text. No Foundation, which would cost
// the command line a good part of its start.

/// A JSON value.
///
///     JSON.object([("step", 12), ("loss", 0.25)]).text   // {"step":12,"loss":0.25}
package enum JSON: Sendable {
  case null
  case bool(Bool)
  /// A number written without point and exponent that fits 64 bits.
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSON])
  case object([(String, JSON)])

  /// The member of that name, where this is an object that has one.
  package subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { ByteName($0.0) == ByteName(key) }?.1
  }

  package var members: [(String, JSON)]? {
    if case .object(let members) = self { members } else { nil }
  }

  package var elements: [JSON]? { if case .array(let elements) = self { elements } else { nil } }

  package var string: String? { if case .string(let value) = self { value } else { nil } }

  package var integer: Int? { if case .integer(let value) = self { value } else { nil } }

  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// The number as a double, whichever way it was written.
  package var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// A number, or the string `inf`, `-inf` or `nan` for what JSON has no number for.
  package init(exactly value: Double) {
    self = value.isFinite ? .number(value) : .string(ConstantText.text(value))
  }

  /// The number that ``init(exactly:)`` has written.
  package var exactDouble: Double? {
    if let double { return double }
    guard case .string(let text) = self else { return nil }
    return switch text {
    case "inf": .infinity
    case "-inf": -.infinity
    case "nan": .nan
    default: nil
    }
  }

  /// The value on one line, without spaces. Infinities and NaN, which JSON does not have, are `null`.
  package var text: String {
    var result = ""
    write(to: &result)
    return result
  }

  private func write(to text: inout String) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += "\(value)"
    case .number(let value): text += value.isFinite ? "\(value)" : "null"
    case .string(let value): JSON.write(value, to: &text)
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," }
        value.write(to: &text)
      }
      text += "]"
    case .object(let members):
      text += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { text += "," }
        JSON.write(member.0, to: &text)
        text += ":"
        member.1.write(to: &text)
      }
      text += "}"
    }
  }

  private static func write(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{08}": text += "\\b"
      case "\u{0c}": text += "\\f"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }

  /// Reads one JSON value, with nothing but white space around it.
  ///
  /// - Throws: `parse` with the byte offset of what is wrong.
  package init(parsing text: String) throws { try self.init(parsing: Array(text.utf8)) }

  /// Reads one JSON value from UTF-8.
  ///
  /// - Throws: `parse` with the byte offset of what is wrong.
  package init(parsing bytes: some Collection<UInt8>) throws {
    var parser = JSONParser(bytes: Array(bytes))
    self = try parser.document()
  }

  /// As ``init(parsing:)``, telling where everything stands, for errors about what the text says.
  ///
  /// - `offsets`: byte offsets of all values and names, in the order of the text: an object's own, then for each
  ///   member its name's and its value's.
  package init(parsing bytes: some Collection<UInt8>, notingIn offsets: inout [Int]) throws {
    var parser = JSONParser(bytes: Array(bytes))
    self = try parser.document()
    offsets = parser.offsets
  }
}

extension JSON: Equatable {
  package static func == (a: JSON, b: JSON) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let x), .bool(let y)): x == y
    case (.integer(let x), .integer(let y)): x == y
    case (.number(let x), .number(let y)): x == y
    case (.string(let x), .string(let y)): x == y
    case (.array(let x), .array(let y)): x == y
    case (.object(let x), .object(let y)):
      x.count == y.count && zip(x, y).allSatisfy { $0.0 == $1.0 && $0.1 == $1.1 }
    default: false
    }
  }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByNilLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int) { self = .integer(value) }
  package init(floatLiteral value: Double) { self = .number(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(arrayLiteral elements: JSON...) { self = .array(elements) }
  package init(nilLiteral: ()) { self = .null }
}

/// Recursive descent over bytes.
private struct JSONParser {
  let bytes: [UInt8]
  var offset = 0
  var depth = 0
  /// Where values and names begin.
  var offsets: [Int] = []
  /// Deeper nesting is refused: the parser recurses.
  static let depthLimit = 128

  init(bytes: [UInt8]) { self.bytes = bytes }

  func fail(_ what: String, at offset: Int? = nil, expected: String) -> ApusError {
    ApusError(.parse, "JSON: \(what)", at: "byte \(offset ?? self.offset)", expected: expected)
  }

  var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 {
      offset += 1
    }
  }

  mutating func document() throws -> JSON {
    let result = try value()
    guard offset == bytes.count else {
      throw fail("something follows the value", expected: "the end")
    }
    return result
  }

  /// A value with the white space around it.
  mutating func value() throws -> JSON {
    skipSpace()
    defer { skipSpace() }
    offsets.append(offset)
    switch next {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case nil: throw fail("the text ends early", expected: "a value")
    case let byte? where byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte):
      return try number()
    default: throw fail("unexpected byte \(bytes[offset])", expected: "a value")
    }
  }

  mutating func word(_ word: String, _ value: JSON) throws -> JSON {
    guard bytes[offset...].starts(with: word.utf8) else {
      throw fail("unknown word", expected: word)
    }
    offset += word.utf8.count
    return value
  }

  mutating func enter() throws {
    depth += 1
    guard depth <= Self.depthLimit else {
      throw fail("nested too deeply", expected: "at most \(Self.depthLimit) levels")
    }
    offset += 1
  }

  /// Whether the list goes on after an element; consumes the comma or the closing bracket.
  mutating func goesOn(until close: Character) throws -> Bool {
    let byte = next
    guard byte == UInt8(ascii: ",") || byte == close.asciiValue else {
      throw fail("a list is not closed", expected: "',' or '\(close)'")
    }
    offset += 1
    if byte == close.asciiValue { depth -= 1 }
    return byte == UInt8(ascii: ",")
  }

  mutating func array() throws -> JSON {
    try enter()
    skipSpace()
    var elements: [JSON] = []
    if next == UInt8(ascii: "]") {
      _ = try goesOn(until: "]")
      return .array(elements)
    }
    repeat { elements.append(try value()) } while try goesOn(until: "]")
    return .array(elements)
  }

  mutating func object() throws -> JSON {
    try enter()
    skipSpace()
    var members: [(String, JSON)] = []
    var names = Set<ByteName>()
    if next == UInt8(ascii: "}") {
      _ = try goesOn(until: "}")
      return .object(members)
    }
    repeat {
      skipSpace()
      let start = offset
      offsets.append(start)
      guard next == UInt8(ascii: "\"") else {
        throw fail("a member has no name", expected: "a name in quotes")
      }
      let name = try string()
      guard names.insert(ByteName(name)).inserted else {
        throw fail("the member '\(name)' stands twice", at: start, expected: "unique names")
      }
      skipSpace()
      guard next == UInt8(ascii: ":") else {
        throw fail("the member '\(name)' has no value", expected: "':'")
      }
      offset += 1
      members.append((name, try value()))
    } while try goesOn(until: "}")
    return .object(members)
  }

  mutating func number() throws -> JSON {
    let start = offset
    func isDigit(_ byte: UInt8?) -> Bool { byte.map { $0 >= 0x30 && $0 <= 0x39 } ?? false }
    func need(_ condition: Bool) throws {
      guard condition else { throw fail("malformed number", at: start, expected: "a number") }
    }
    if next == UInt8(ascii: "-") { offset += 1 }
    try need(isDigit(next))
    if next == UInt8(ascii: "0") {
      offset += 1
      try need(!isDigit(next))
    }
    while isDigit(next) { offset += 1 }
    var isIntegral = true
    if next == UInt8(ascii: ".") {
      isIntegral = false
      offset += 1
      try need(isDigit(next))
      while isDigit(next) { offset += 1 }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      isIntegral = false
      offset += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { offset += 1 }
      try need(isDigit(next))
      while isDigit(next) { offset += 1 }
    }
    let text = String(decoding: bytes[start..<offset], as: UTF8.self)
    if isIntegral, let value = Int(text) { return .integer(value) }
    guard let value = Double(text) else {
      throw fail("malformed number", at: start, expected: "a number")
    }
    return .number(value)
  }

  mutating func string() throws -> String {
    let start = offset
    offset += 1
    // Most strings have no escapes and are taken as they stand.
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
      offset += 1
    }
    let plain = bytes[start + 1..<offset]
    if next == UInt8(ascii: "\""),
      let text = plain.withUnsafeBufferPointer({ String(validating: $0, as: UTF8.self) })
    {
      offset += 1
      return text
    }
    var result = Array(plain)
    while true {
      guard let byte = next else {
        throw fail("a string is not closed", at: start, expected: "'\"'")
      }
      offset += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: result, as: UTF8.self) else {
          throw fail("a string is not UTF-8", at: start, expected: "UTF-8")
        }
        return text
      case UInt8(ascii: "\\"): try escape(into: &result)
      case 0..<0x20:
        throw fail("a control character in a string", at: offset - 1, expected: "an escape")
      default: result.append(byte)
      }
    }
  }

  private mutating func escape(into result: inout [UInt8]) throws {
    let start = offset - 1
    guard let byte = next else {
      throw fail("a string is not closed", at: start, expected: "an escape")
    }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
    case UInt8(ascii: "b"): result.append(0x08)
    case UInt8(ascii: "f"): result.append(0x0c)
    case UInt8(ascii: "n"): result.append(0x0a)
    case UInt8(ascii: "r"): result.append(0x0d)
    case UInt8(ascii: "t"): result.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexUnit(start)
      if code & 0xfc00 == 0xd800, bytes[offset...].starts(with: "\\u".utf8) {
        offset += 2
        let low = try hexUnit(start)
        guard low & 0xfc00 == 0xdc00 else {
          throw fail("half a surrogate pair", at: start, expected: "\\udc00 to \\udfff after it")
        }
        code = 0x10000 + (code & 0x3ff) << 10 + low & 0x3ff
      }
      guard let scalar = Unicode.Scalar(code) else {
        throw fail("half a surrogate pair", at: start, expected: "two \\u escapes")
      }
      result += Array(String(Character(scalar)).utf8)
    default:
      throw fail(
        "unknown escape", at: start, expected: "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u")
    }
  }

  private mutating func hexUnit(_ start: Int) throws -> UInt32 {
    let digits = bytes[offset..<min(offset + 4, bytes.count)]
    let isHex = digits.allSatisfy {
      ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x66)
    }
    guard digits.count == 4, isHex,
      let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    else { throw fail("malformed escape", at: start, expected: "\\u and four hex digits") }
    offset += 4
    return code
  }
}
