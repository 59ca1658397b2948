// Tables of numbers as comma-separated text.
//
// For training data, not for spreadsheets: every field is a number (or empty, where the caller says
// what that means). Quoted fields, CR LF, a byte-order mark and gzip are understood. RFC 4180.

import ApusGraph

/// A table of numbers with the names of its columns.
///
///     let table = try CSV.read("iris.csv")       // values f32[150,5], names ["sepal length", …]
///     let x = try table.columns(0..<4)
///     let ids = try CSV.read("orders.csv", type: .i64).column("id")
///
/// A number is written with digits, at most one point, and an exponent, or is `inf` or `nan`. It is rounded
/// once, to the nearest value of the element type; one that is too large is an error, and so is a whole
/// number that the type does not hold exactly: 16777217 in f32. Such columns want `type: .f64` or `.i64`.
///
/// Fields may stand in quotes, which they need where they hold separators, line breaks or (doubled) quotes.
/// Empty lines are skipped, but for a table of one column, where they are fields without a number.
public struct CSV: Sendable {
  /// The header's fields, or nil where the file has no header.
  public let names: [String]?
  /// An array [rows, columns] of the type that was asked for.
  public let values: NDArray

  /// Whether the first line holds names.
  public enum Header: Sendable {
    case present, absent
    /// It does where it has a field that is neither empty nor a number. A line of both names and numbers is
    /// an error: it is a header with odd names, or a mistake in the first row. A line of numbers alone
    /// is data, so that years as names (`2019,2020`) want `.present`.
    case detected
  }

  /// The table in a file, plain or compressed with gzip.
  ///
  /// - `separator`: one ASCII character.
  /// - `missing`: what an empty field stands for; where nil, it is an error.
  /// - `type`: the element type, `.f32`, `.f64` or `.i64`; with the last, all numbers are whole.
  /// - `limit`: the most bytes of text that a compressed file may have; nil stands for a fifth of the
  ///   free memory.
  /// - Throws: `io` where the file cannot be read, `invalidFile` with line, column and byte offset of a
  ///   field that is not a number or a line with too few or many of them, of a second column of one name
  ///   or a first line of names and numbers; `unsupported` for UTF-16; `resource` beyond `limit`.
  public static func read(
    _ path: String, separator: Character = ",", header: Header = .detected, missing: Float? = nil,
    type: DType = .f32, limit: Int? = nil
  ) throws -> CSV {
    try table(
      .file(try OpenFile(path, expected: "a CSV file")), separator, header, missing, type, limit)
  }

  /// The table in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:separator:header:missing:type:limit:)``.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", separator: Character = ",",
    header: Header = .detected, missing: Float? = nil, type: DType = .f32, limit: Int? = nil
  ) throws -> CSV {
    try table(.memory(bytes, path: path), separator, header, missing, type, limit)
  }

  private static func table(
    _ source: ByteSource, _ separator: Character, _ header: Header, _ missing: Float?,
    _ type: DType,
    _ limit: Int?
  ) throws -> CSV {
    guard let separatorByte = separator.asciiValue, separatorByte > 0x20 || separatorByte == 0x09,
      separatorByte != UInt8(ascii: "\"")
    else {
      throw ApusError(
        .invalidArgument, "fields separated by '\(separator)'",
        expected: "one ASCII character such as ',' ';' or a tab")
    }
    let content = try Gzip.contents(
      source, limit: MemoryLimit(limit ?? MemoryLimit.available / 5))
    func parsed<T: CSVElement>(_: T.Type) throws -> CSV {
      let gap = try missing.map { value -> T in
        guard let element = T.gap(value) else {
          throw ApusError(
            .invalidArgument, "\(value) for missing fields of type \(type)",
            expected: "a value that \(type) has")
        }
        return element
      }
      return try content.withUnsafeBufferPointer { bytes in
        var parser = CSVParser<T>(bytes, path: source.path, separator: separatorByte, missing: gap)
        return try parser.table(header)
      }
    }
    switch type {
    case .f32: return try parsed(Float.self)
    case .f64: return try parsed(Double.self)
    case .i64: return try parsed(Int64.self)
    default:
      throw ApusError(
        .invalidArgument, "a table of \(type)", expected: ".f32, .f64 or .i64, and a cast")
    }
  }

  init(names: [String]?, values: NDArray) {
    self.names = names
    self.values = values
  }

  /// Some of the columns, as an array [rows, count].
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

  /// The column of that name, as an array [rows].
  ///
  /// - Throws: `missing` where no column is named so.
  public func column(_ name: String) throws -> NDArray {
    guard !name.isEmpty,
      let index = names?.firstIndex(where: { $0.utf8.elementsEqual(name.utf8) })
    else {
      throw ApusError(
        .missing, "there is no column '\(name)'",
        expected: names.map { "one of \($0.joined(separator: ", "))" } ?? "a table with a header")
    }
    return try columns(index..<index + 1).reshaped([values.shape[0]])
  }
}
