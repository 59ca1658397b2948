// Tables of numbers as comma-separated text.
//
// For training data, not for spreadsheets: every field is a number (or empty, where the caller says
// what that means). Quoted fields, CR LF, a byte-order mark and gzip are understood. RFC 4180.

import ApusGraph

/// A table of numbers with the names of its columns.
///
///     let table = try CSV.read("iris.csv")       // values f32[150,5], names ["sepal length", …]
///     let x = try table.columns(0..<4)
public struct CSV: Sendable {
  /// The header's fields, or nil where the file has no header.
  public let names: [String]?
  /// f32[rows, columns].
  public let values: NDArray

  /// Whether the first line holds names.
  public enum Header: Sendable {
    case present, absent
    /// It does where one of its fields is not a number.
    case detected
  }

  /// The table in a file.
  ///
  /// - `separator`: one ASCII character.
  /// - `missing`: what an empty field stands for; where nil, it is an error.
  /// - Throws: `io` where the file cannot be read, `invalidFile` with line, column and byte offset of a
  ///   field that is not a number or a line with too few or many of them.
  public static func read(
    _ path: String, separator: Character = ",", header: Header = .detected, missing: Float? = nil
  ) throws -> CSV {
    try parse(
      try fileBytes(path, expected: "a CSV file"), path: path, separator: separator, header: header,
      missing: missing)
  }

  /// The table in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:separator:header:missing:)``.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", separator: Character = ",",
    header: Header = .detected, missing: Float? = nil
  ) throws -> CSV {
    guard let separatorByte = separator.asciiValue, separatorByte > 0x20 || separatorByte == 0x09,
      separatorByte != quote
    else {
      throw ApusError(
        .invalidArgument, "fields separated by '\(separator)'",
        expected: "one ASCII character such as ',' ';' or a tab")
    }
    let content = Gzip.isGzip(bytes) ? try Gzip.inflate(bytes, path: path) : bytes
    var parser = CSVParser(content, path: path, separator: separatorByte, missing: missing)
    return try parser.table(header)
  }

  fileprivate static let quote = UInt8(ascii: "\"")

  fileprivate init(names: [String]?, values: NDArray) {
    self.names = names
    self.values = values
  }

  /// Some of the columns, as f32[rows, count].
  ///
  /// - Throws: `invalidArgument` where the table has no such columns.
  public func columns(_ range: Range<Int>) throws -> NDArray {
    guard range.lowerBound >= 0, range.upperBound <= values.shape[1] else {
      throw ApusError(
        .invalidArgument, "columns \(range) of a table of \(values.shape[1])",
        expected: "a range within 0..<\(values.shape[1])")
    }
    let shape: Shape = [values.shape[0], range.count]
    return values.viewed(
      through: View(dense: values.shape).sliced(
        starts: [0, range.lowerBound], steps: [1, 1], shape: shape))
  }

  /// The column of that name, as f32[rows].
  ///
  /// - Throws: `missing` where no column is named so.
  public func column(_ name: String) throws -> NDArray {
    guard let index = names?.firstIndex(of: name) else {
      throw ApusError(
        .missing, "there is no column '\(name)'",
        expected: names.map { "one of \($0.joined(separator: ", "))" } ?? "a table with a header")
    }
    return try columns(index..<index + 1).reshaped([values.shape[0]])
  }
}

/// One pass over the bytes.
private struct CSVParser {
  private let bytes: [UInt8]
  private let path: String
  private let separator: UInt8
  private let missing: Float?
  private var at = 0
  private var line = 1

  init(_ bytes: [UInt8], path: String, separator: UInt8, missing: Float?) {
    self.bytes = bytes
    self.path = path
    self.separator = separator
    self.missing = missing
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { at = 3 }
  }

  private func fail(_ what: String, column: Int, at offset: Int, expected: String) -> ApusError {
    ApusError(
      .invalidFile, what, at: "\(path), line \(line), column \(column), byte \(offset)",
      expected: expected)
  }

  mutating func table(_ header: CSV.Header) throws -> CSV {
    skipEmptyLines()
    var names: [String]?
    if header != .absent, at < bytes.count {
      let (start, startLine) = (at, line)
      let fields = try textLine()
      if header == .present || fields.contains(where: { Self.number(Array($0.utf8)[...]) == nil }) {
        // With detection, a line of empty fields is data with gaps.
        if header == .present || fields.contains(where: { !$0.isEmpty && Float($0) == nil }) {
          names = fields
        }
      }
      if names == nil { (at, line) = (start, startLine) }
    }
    var columns = names?.count
    var values: [Float] = []
    var rows = 0
    while true {
      skipEmptyLines()
      guard at < bytes.count else { break }
      let start = at
      let count = try numberLine(into: &values)
      guard columns == nil || count == columns else {
        throw fail(
          "the line has \(count) fields", column: min(count, columns!) + 1, at: start,
          expected: "\(columns!), as the lines before")
      }
      columns = count
      rows += 1
      endLine()
    }
    return CSV(names: names, values: NDArray(values, shape: [rows, columns ?? 0]))
  }

  private var isAtLineEnd: Bool { at >= bytes.count || bytes[at] == 0x0a || bytes[at] == 0x0d }

  private mutating func endLine() {
    if at < bytes.count, bytes[at] == 0x0d { at += 1 }
    if at < bytes.count, bytes[at] == 0x0a { at += 1 }
    line += 1
  }

  private mutating func skipEmptyLines() {
    while at < bytes.count && isAtLineEnd { endLine() }
  }

  /// The bytes of the next field, quotes and spaces around it dropped. Stops at what ends it.
  private mutating func field(_ column: Int) throws -> ArraySlice<UInt8> {
    while at < bytes.count, bytes[at] == 0x20 { at += 1 }
    if at < bytes.count, bytes[at] == CSV.quote {
      let start = at
      guard let end = bytes[(at + 1)...].firstIndex(of: CSV.quote) else {
        throw fail("a quote is not closed", column: column, at: start, expected: "'\"'")
      }
      at = end + 1
      while at < bytes.count, bytes[at] == 0x20 { at += 1 }
      guard isAtLineEnd || bytes[at] == separator else {
        throw fail(
          "something follows a quoted field", column: column, at: at, expected: "the separator")
      }
      return bytes[start + 1..<end]
    }
    let start = at
    while !isAtLineEnd && bytes[at] != separator { at += 1 }
    var end = at
    while end > start, bytes[end - 1] == 0x20 { end -= 1 }
    return bytes[start..<end]
  }

  private mutating func textLine() throws -> [String] {
    var fields: [String] = []
    while true {
      fields.append(String(decoding: try field(fields.count + 1), as: UTF8.self))
      guard at < bytes.count, bytes[at] == separator else { break }
      at += 1
    }
    endLine()
    return fields
  }

  private mutating func numberLine(into values: inout [Float]) throws -> Int {
    var count = 0
    while true {
      count += 1
      let start = at
      let text = try field(count)
      if let value = Self.number(text) {
        values.append(value)
      } else if text.isEmpty, let missing {
        values.append(missing)
      } else {
        let shown = String(decoding: text.prefix(40), as: UTF8.self)
        throw fail(
          text.isEmpty ? "the field is empty" : "'\(shown)' is not a number", column: count,
          at: start, expected: "a number")
      }
      guard at < bytes.count, bytes[at] == separator else { return count }
      at += 1
    }
  }

  /// The powers of ten that doubles hold exactly.
  private static let powers: [Double] = (0...22).map { exponent in
    (0..<exponent).reduce(1.0) { power, _ in power * 10 }
  }

  /// The number that the text is, nil where it is none. Up to 15 digits and a small exponent are
  /// combined exactly (Clinger 1990, the fast path); the rest goes the long way.
  private static func number(_ text: ArraySlice<UInt8>) -> Float? {
    var index = text.startIndex
    let isNegative = text.first == UInt8(ascii: "-")
    if isNegative || text.first == UInt8(ascii: "+") { index += 1 }
    var mantissa = 0
    var digits = 0
    var decimals = 0
    var hasPoint = false
    while index < text.endIndex {
      let byte = text[index]
      if (0x30...0x39).contains(byte) {
        mantissa = mantissa &* 10 &+ Int(byte - 0x30)
        digits += 1
        if hasPoint { decimals += 1 }
      } else if byte == UInt8(ascii: "."), !hasPoint {
        hasPoint = true
      } else {
        break
      }
      index += 1
    }
    if index == text.endIndex, (1...15).contains(digits) {
      let value = Double(mantissa) / powers[decimals]
      return Float(isNegative ? -value : value)
    }
    return Float(String(decoding: text, as: UTF8.self))
  }
}
