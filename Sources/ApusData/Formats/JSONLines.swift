// Rows as JSON objects, one a line: https://jsonlines.org.
//
// The columns that are wanted have names and types; a row that has them otherwise is an error with its line and key.
// Other keys are left out. A file is read piece by piece, so that of its text no more than one line is held.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Columns of a file of JSON objects, one a line.
///
///     let rows = try JSONLines.read("train.jsonl", columns: ["text": .text, "label": .array(.i32())])
///     rows.texts("text")          // [String]
///     try rows.array("label")     // i32[n]
public struct JSONLines: Sendable {
  /// What a key holds in every row.
  public enum Column: Sendable, Hashable {
    /// A string.
    case text
    /// Numbers or bools of one shape: `.array(.i32())` for one number, `.array(.f32(3))` for a list of three. Floats are
    /// rounded to the nearest; whole numbers must be of the type's range.
    case array(TensorType)
    /// A list of numbers of any length, such as the ids of tokens.
    case list(DType)
  }

  /// The number of rows.
  public let count: Int
  private let columns: [(name: String, values: Values)]

  private enum Values {
    case texts([String])
    case array(NDArray)
    case lists([NDArray])
  }

  /// The rows of a file, plain or compressed with gzip. Lines of nothing but spaces are left out.
  ///
  /// - `columns`: the keys that are wanted and what they hold.
  /// - `limit`: the most bytes that the columns may take, texts and lists with what holds them and numbers as 8 bytes
  ///   each; nil stands for a fifth of the free memory. Numbers are held twice for a moment at the end. A line may have
  ///   2^24 bytes, and takes up to some thirty times as much while it is read.
  /// - Throws: `io` where the file cannot be read; `invalidFile` naming line and key where a line is no JSON object, a key
  ///   is missing or null, or holds something else; `outOfRange` for a number that its type does not have;
  ///   `invalidArgument` for a key that is asked for twice; `resource` beyond `limit`.
  public static func read(
    _ path: String, columns: KeyValuePairs<String, Column>, limit: Int? = nil
  ) throws -> JSONLines {
    try rows(.file(try OpenFile(path, expected: "a file of JSON lines")), columns, limit)
  }

  /// The rows in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:columns:limit:)``.
  public static func parse(
    _ bytes: [UInt8], columns: KeyValuePairs<String, Column>, path: String = "<bytes>",
    limit: Int? = nil
  ) throws -> JSONLines {
    try rows(.memory(bytes, path: path), columns, limit)
  }

  private static func rows(
    _ source: ByteSource, _ columns: KeyValuePairs<String, Column>, _ limit: Int?
  ) throws -> JSONLines {
    guard Set(columns.map { ByteName($0.key) }).count == columns.count else {
      throw ApusError(
        .invalidArgument, "the keys \(columns.map(\.key)) name one twice", expected: "unique keys")
    }
    var builders = try columns.map { try ColumnBuilder($0.key, $0.value) }
    let limit = try MemoryLimit(limit ?? MemoryLimit.available / 5)
    let (stream, _) = try Gzip.stream(source)
    var reader = LineReader(stream, path: source.path)
    var count = 0
    while let line = try reader.next() {
      if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }) { continue }
      let place = "\(source.path), line \(reader.line)"
      let row: JSON
      do { row = try JSON(parsing: line) } catch let error as ApusError {
        throw ApusError(
          .invalidFile, error.what, at: "\(place), \(error.location ?? "")",
          expected: error.expected)
      }
      guard row.members != nil else {
        throw ApusError(
          .invalidFile, "the line is \(row.kind)", at: place, expected: "an object, {…}")
      }
      var size = 0
      for index in builders.indices {
        guard let value = row[builders[index].name] else {
          let keys = row.members!.map(\.0).prefix(8).joined(separator: ", ")
          throw ApusError(
            .invalidFile, "the key '\(builders[index].name)' is missing", at: place,
            expected: "it in every line; there are \(keys)")
        }
        try builders[index].add(value, at: "\(place), key '\(builders[index].name)'")
        size += builders[index].byteCount
      }
      try limit.check(size, for: "the rows so far", at: place)
      count += 1
    }
    return JSONLines(count: count, columns: try builders.map { ($0.name, try $0.values(count)) })
  }

  /// The names of the columns.
  public var names: [String] { columns.map(\.name) }

  /// The column of that name: [n] and the shape of one row's.
  ///
  /// - Throws: `missing` where there is none, or it is one of texts or lists.
  public func array(_ name: String) throws -> NDArray {
    guard case .array(let array) = try values(name) else { throw other(name, "arrays") }
    return array
  }

  /// The texts of that column.
  ///
  /// - Throws: `missing` where there is none, or it is not one of texts.
  public func texts(_ name: String) throws -> [String] {
    guard case .texts(let texts) = try values(name) else { throw other(name, "texts") }
    return texts
  }

  /// The lists of that column, each of its own length: what `Sequences.arrays` takes.
  ///
  /// - Throws: `missing` where there is none, or it is not one of lists.
  public func lists(_ name: String) throws -> [NDArray] {
    guard case .lists(let lists) = try values(name) else { throw other(name, "lists") }
    return lists
  }

  private func values(_ name: String) throws -> Values {
    guard let column = columns.first(where: { ByteName($0.name) == ByteName(name) }) else {
      throw ApusError(
        .missing, "there is no column '\(name)'",
        expected: names.isEmpty ? "columns" : "one of \(names.joined(separator: ", "))")
    }
    return column.values
  }

  private func other(_ name: String, _ kind: String) -> ApusError {
    ApusError(
      .missing, "the column '\(name)' is not one of \(kind)", expected: "what it was read as")
  }

  /// One column while rows come.
  private struct ColumnBuilder {
    let name: String
    private let column: Column
    private var texts: [String] = []
    private var integers: [Int64] = []
    private var doubles: [Double] = []
    private var lists: [NDArray] = []
    /// What the column takes.
    private(set) var byteCount = 0

    init(_ name: String, _ column: Column) throws {
      self.name = name
      self.column = column
      if case .array(let type) = column { _ = try type.checked("column '\(name)'") }
    }

    mutating func add(_ value: JSON, at place: String) throws {
      switch column {
      case .text:
        guard let text = value.string else { throw Self.wrong(value, "a string", place) }
        texts.append(text)
        byteCount += MemoryLayout<String>.size + text.utf8.count
      case .array(let type):
        // Up to 8 bytes each until the end, when they become the array.
        byteCount += 8 * type.count
        try add(value, type.dtype, type.shape.dimensions[...], place)
      case .list(let dtype):
        guard let elements = value.elements else { throw Self.wrong(value, "a list", place) }
        var list = ColumnBuilder(number: name, TensorType(dtype, [elements.count]))
        try list.add(value, dtype, [elements.count], place)
        let array = try list.numbers(TensorType(dtype, [elements.count]))
        lists.append(array)
        // An array is an object and a shape besides its elements.
        byteCount += 128 + array.type.byteCount
      }
    }

    private init(number name: String, _ type: TensorType) {
      self.name = name
      column = .array(type)
    }

    /// The numbers of a value that should be nested as `extents` say.
    private mutating func add(
      _ value: JSON, _ dtype: DType, _ extents: ArraySlice<Int>, _ place: String
    ) throws {
      guard let extent = extents.first else { return try add(number: value, dtype, place) }
      guard let elements = value.elements, elements.count == extent else {
        let what = value.elements.map { "a list of \($0.count)" } ?? value.kind
        throw ApusError(
          .invalidFile, "the value has \(what)", at: place, expected: "a list of \(extent)")
      }
      for element in elements { try add(element, dtype, extents.dropFirst(), place) }
    }

    private mutating func add(number value: JSON, _ dtype: DType, _ place: String) throws {
      if dtype == .bool {
        guard let bool = value.bool else { throw Self.wrong(value, "true or false", place) }
        return integers.append(bool ? 1 : 0)
      }
      guard let double = value.double else { throw Self.wrong(value, "a number", place) }
      if dtype.isFloat {
        guard double.isFinite else {
          throw ApusError(
            .outOfRange, "a number is beyond f64", at: place, expected: "a finite one")
        }
        return doubles.append(double)
      }
      // 1.0 is a whole number too.
      guard let integer = value.integer.map({ Int64($0) }) ?? Int64(exactly: double),
        dtype.holds(integer)
      else {
        throw ApusError(
          .outOfRange, "the number \(double) is none of \(dtype)", at: place,
          expected: "a whole number in \(dtype.integers!)")
      }
      integers.append(integer)
    }

    private static func wrong(_ value: JSON, _ expected: String, _ place: String) -> ApusError {
      ApusError(.invalidFile, "the value is \(value.kind)", at: place, expected: expected)
    }

    private func numbers(_ type: TensorType) throws -> NDArray {
      if !type.dtype.isFloat { return try NDArray(integers: integers, type: type) }
      let array = try NDArray(checking: doubles, type: type)
      // A number that is finite in the file stays so.
      if type.dtype != .f64, let place = array.doubles.firstIndex(where: { !$0.isFinite }) {
        throw ApusError(
          .outOfRange, "the number \(doubles[place]) of column '\(name)' is beyond \(type.dtype)",
          expected: "smaller numbers, or .f64")
      }
      return array
    }

    func values(_ count: Int) throws -> Values {
      switch column {
      case .text: .texts(texts)
      case .array(let type):
        .array(try numbers(type.with(Shape([count] + type.shape.dimensions))))
      case .list: .lists(lists)
      }
    }
  }
}

extension JSON {
  /// What kind of value it is, in words.
  fileprivate var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a bool"
    case .integer, .number: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}

/// The lines of a stream, one after the other.
private struct LineReader {
  private let stream: any ByteStream
  private let path: String
  private var buffer: [UInt8] = []
  private var at = 0
  private var isAtEnd = false
  /// The number of the line that was given last, from 1 on.
  private(set) var line = 0
  /// A line of more bytes is refused.
  static let mostBytes = 1 << 24

  init(_ stream: any ByteStream, path: String) {
    self.stream = stream
    self.path = path
  }

  /// The next line without its end; nil after the last.
  mutating func next() throws -> ArraySlice<UInt8>? {
    var searched = at
    while true {
      let end = newline(from: searched)
      guard (end ?? buffer.count) - at <= Self.mostBytes else {
        throw ApusError(
          .resource, "the line has more than \(Self.mostBytes) bytes",
          at: "\(path), line \(line + 1)", expected: "one row a line")
      }
      if end != nil || isAtEnd {
        guard end != nil || at < buffer.count else { return nil }
        defer { at = end.map { $0 + 1 } ?? buffer.count }
        line += 1
        return buffer[at..<(end ?? buffer.count)]
      }
      // What has been read goes away; the rest moves to the front.
      buffer.removeFirst(at)
      at = 0
      searched = buffer.count
      buffer += [UInt8](repeating: 0, count: 1 << 16)
      let got = try buffer.withUnsafeMutableBytes {
        try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[searched...]))
      }
      buffer.removeLast((1 << 16) - got)
      isAtEnd = got < 1 << 16
    }
  }

  private func newline(from start: Int) -> Int? {
    buffer.withUnsafeBytes { bytes in
      guard start < bytes.count, let first = bytes.baseAddress,
        let found = memchr(first + start, 0x0a, bytes.count - start)
      else { return nil }
      return UnsafeRawPointer(found) - first
    }
  }
}
