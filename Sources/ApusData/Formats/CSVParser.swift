// One pass over the bytes of a table. What is read and what is refused: CSV.swift.

import ApusGraph

/// The element types that tables are read into.
protocol CSVElement: BitwiseCopyable {
  static var dtype: DType { get }
  /// The element that stands for a missing number; nil where there is none such.
  static func gap(_ value: Float) -> Self?
  /// The value that the text stands for.
  init(_ number: DecimalNumber, _ text: UnsafeBufferPointer<UInt8>) throws(DecimalNumber.Refusal)
}

/// Reads a table, line by line.
struct CSVParser<Element: CSVElement> {
  private let bytes: UnsafeBufferPointer<UInt8>
  private let path: String
  private let separator: UInt8
  private let missing: Element?
  private var at = 0
  private var line = 1

  init(
    _ bytes: UnsafeBufferPointer<UInt8>, path: String, separator: UInt8, missing: Element?
  ) {
    self.bytes = bytes
    self.path = path
    self.separator = separator
    self.missing = missing
  }

  private static var quote: UInt8 { UInt8(ascii: "\"") }

  private func fail(
    _ what: String, line: Int? = nil, column: Int, at offset: Int, expected: String
  ) -> ApusError {
    ApusError(
      .invalidFile, what,
      at: "\(path), line \(line ?? self.line), column \(column), byte \(offset)",
      expected: expected)
  }

  mutating func table(_ header: CSV.Header) throws -> CSV {
    try checkEncoding()
    let names = try names(header)
    var columns = names?.count
    var values: [Element] = []
    var rows = 0
    // Only the first row tells whether empty lines before it are rows too.
    var emptyLines = 0
    let (first, firstLine) = (at, line)
    while at < bytes.count {
      if isAtLineEnd {
        if columns == 1 {
          try values.append(gap(line: line, offset: at))
          rows += 1
        } else if columns == nil {
          emptyLines += 1
        }
        endLine()
        continue
      }
      let (start, startLine) = (at, line)
      let count = try numberLine(into: &values)
      guard columns == nil || count == columns else {
        throw fail(
          "the line has \(count) fields", line: startLine, column: min(count, columns!) + 1,
          at: start,
          expected: "\(columns!), as the lines before")
      }
      if columns == nil, count == 1, emptyLines > 0 {
        let gap = try gap(line: firstLine, offset: first)
        values.insert(contentsOf: repeatElement(gap, count: emptyLines), at: 0)
        rows += emptyLines
      }
      columns = count
      rows += 1
      endLine()
    }
    let type = TensorType(Element.dtype, Shape([rows, columns ?? 0]))
    var array = try NDArray(checking: type)
    array.withUnsafeMutableBytes { target in values.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    return CSV(names: names, values: array)
  }

  /// Steps over a byte-order mark.
  ///
  /// - Throws: `unsupported` for text of two or four bytes a character.
  private mutating func checkEncoding() throws {
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { at = 3 }
    let start = bytes.prefix(4)
    guard
      start.starts(with: [0xff, 0xfe]) || start.starts(with: [0xfe, 0xff]) || start.contains(0)
    else { return }
    throw ApusError(
      .unsupported, "the file is UTF-16 or UTF-32, or no text", at: place(path, 0),
      expected: "UTF-8: iconv -f UTF-16 -t UTF-8 turns one into the other")
  }

  /// The header's fields, where there is one, stepped over then.
  private mutating func names(_ header: CSV.Header) throws -> [String]? {
    guard header != .absent else { return nil }
    let (before, lineBefore) = (at, line)
    while at < bytes.count && isAtLineEnd { endLine() }
    guard at < bytes.count else {
      (at, line) = (before, lineBefore)
      return nil
    }
    let (start, startLine) = (at, line)
    var names: [String] = []
    var places: [(line: Int, offset: Int)] = []
    var number: Int?, word: Int?
    while true {
      let column = names.count + 1
      places.append((line, at))
      let field = try field(column)
      if Self.isNumber(field.text) {
        number = number ?? column
      } else if field.text.count > 0 {
        word = word ?? column
      }
      let text = field.isDoubled ? Self.withoutDoubledQuotes(field.text) : Array(field.text)
      guard let name = String(validating: text, as: UTF8.self), !text.contains(0) else {
        throw fail(
          "the name of a column is not UTF-8", line: places[column - 1].line, column: column,
          at: places[column - 1].offset, expected: "UTF-8 without zeros")
      }
      names.append(name)
      guard at < bytes.count, bytes[at] == separator else { break }
      at += 1
    }
    if header == .detected {
      guard let word else {
        (at, line) = (before, lineBefore)
        return nil
      }
      if let number {
        throw fail(
          "the first line has both a number, '\(names[number - 1])', and '\(names[word - 1])'",
          line: startLine, column: word, at: start,
          expected: "names or numbers; 'header: .present' where these are names, "
            + "'header: .absent' where they are data")
      }
    }
    var seen = Set<ByteName>()
    for (index, name) in names.enumerated() where !name.isEmpty {
      guard seen.insert(ByteName(name)).inserted else {
        throw fail(
          "a second column is named '\(name)'", line: places[index].line, column: index + 1,
          at: places[index].offset, expected: "unique names")
      }
    }
    endLine()
    return names
  }

  private var isAtLineEnd: Bool { at >= bytes.count || bytes[at] == 0x0a || bytes[at] == 0x0d }

  private mutating func endLine() {
    if at < bytes.count, bytes[at] == 0x0d { at += 1 }
    if at < bytes.count, bytes[at] == 0x0a { at += 1 }
    line += 1
  }

  /// What an empty line of a table of one column stands for.
  private func gap(line: Int, offset: Int) throws -> Element {
    guard let missing else {
      throw fail(
        "the line is empty, which in a table of one column is a missing number", line: line,
        column: 1,
        at: offset, expected: "a number, or 'missing:' with what stands for one")
    }
    return missing
  }

  /// A field without the quotes and spaces around it.
  private struct Field {
    let text: UnsafeBufferPointer<UInt8>
    /// Whether quotes within it are doubled.
    var isDoubled = false
  }

  private func text(_ range: Range<Int>) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(rebasing: bytes[range])
  }

  /// The next field. Stops at what ends it.
  private mutating func field(_ column: Int) throws -> Field {
    while at < bytes.count, bytes[at] == 0x20 { at += 1 }
    if at < bytes.count, bytes[at] == Self.quote { return try quotedField(column) }
    let start = at
    while at < bytes.count, case let byte = bytes[at], byte != separator, byte != 0x0a, byte != 0x0d
    {
      at += 1
    }
    var end = at
    while end > start, bytes[end - 1] == 0x20 { end -= 1 }
    return Field(text: text(start..<end))
  }

  private mutating func quotedField(_ column: Int) throws -> Field {
    let (start, startLine) = (at, line)
    var isDoubled = false
    at += 1
    while true {
      guard at < bytes.count else {
        throw fail(
          "a quote is not closed", line: startLine, column: column, at: start, expected: "'\"'")
      }
      switch bytes[at] {
      case Self.quote:
        guard at + 1 < bytes.count, bytes[at + 1] == Self.quote else {
          let content = text(start + 1..<at)
          at += 1
          while at < bytes.count, bytes[at] == 0x20 { at += 1 }
          guard isAtLineEnd || bytes[at] == separator else {
            throw fail(
              "something follows a quoted field", column: column, at: at, expected: "the separator")
          }
          return Field(text: content, isDoubled: isDoubled)
        }
        isDoubled = true
        at += 2
      case 0x0d where at + 1 < bytes.count && bytes[at + 1] == 0x0a: at += 1
      case 0x0a, 0x0d:
        line += 1
        at += 1
      default: at += 1
      }
    }
  }

  private static func withoutDoubledQuotes(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    var isSecond = false
    for byte in text {
      isSecond = byte == quote && !isSecond
      if byte != quote || isSecond { result.append(byte) }
    }
    return result
  }

  private mutating func numberLine(into values: inout [Element]) throws -> Int {
    var count = 0
    while true {
      count += 1
      let start = at
      let text = try field(count).text
      if text.isEmpty, let missing {
        values.append(missing)
      } else {
        try values.append(value(text, column: count, at: start))
      }
      guard at < bytes.count, bytes[at] == separator else { return count }
      at += 1
    }
  }

  private func value(
    _ text: UnsafeBufferPointer<UInt8>, column: Int, at offset: Int
  ) throws -> Element {
    var shown: String { "'\(String(decoding: text.prefix(40), as: UTF8.self))'" }
    guard let number = DecimalNumber(text) else {
      throw fail(
        text.isEmpty ? "the field is empty" : "\(shown) is not a number", column: column,
        at: offset,
        expected: text.isEmpty ? "a number, or 'missing:' with what stands for one" : "a number")
    }
    do {
      return try Element(number, text)
    } catch .tooLarge {
      throw fail(
        "\(shown) is larger than any number of \(Element.dtype)", column: column, at: offset,
        expected: Element.dtype == .f64 ? "a number of f64, or inf" : "'type: .f64'")
    } catch .notExact {
      throw fail(
        "\(shown) is a whole number that \(Element.dtype) does not hold exactly", column: column,
        at: offset,
        expected: "\(Element.dtype == .f32 ? "'type: .f64' (whole numbers up to 2^53) or " : "")"
          + "'type: .i64', or '.0' behind it where it may be rounded")
    } catch .notWhole {
      throw fail(
        "\(shown) is not a whole number", column: column, at: offset,
        expected: "whole numbers, or 'type: .f64'")
    }
  }

  /// Whether the text is a number, here or to others: those of them that we do not take (`0x10`) are no
  /// names either.
  private static func isNumber(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    DecimalNumber(text) != nil || Double(String(decoding: text, as: UTF8.self)) != nil
  }
}
