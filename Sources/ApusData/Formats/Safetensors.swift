// Named arrays in a file, in the format of https://github.com/huggingface/safetensors.
//
//     n (8 bytes, little-endian)   header (n bytes of JSON)   data
//
// The header maps each name to dtype, shape and the range of its bytes within the data. Reading is as
// strict as the reference (ranges follow one another from 0 and cover the data) and refuses duplicate
// names besides. Names are told apart by their bytes. Writing gives the reference's bytes, but for the padding: the data begin at a multiple
// of 64, so that they can be mapped aligned.

import ApusGraph

/// A safetensors file that has been opened and checked; arrays are read from it one by one.
///
///     let file = try SafetensorsFile("model.safetensors")
///     let weight = try file.array("hidden.weight")
///     try SafetensorsFile.write(["hidden.weight": weight], to: "copy.safetensors")
public struct SafetensorsFile: Sendable {
  /// An array as the header describes it.
  public struct Entry: Sendable, Hashable {
    public let name: String
    /// The format's name of the element type, such as `F32`.
    public let dtypeName: String
    public let shape: Shape
    /// Where its bytes stand, from the start of the file.
    public let bytes: Range<Int>

    /// The element type, nil where arrays do not have it (`I8`, `F8_E4M3`, …).
    public var dtype: DType? { Layout.dtypes[dtypeName]?.dtype }
  }

  /// The header's `__metadata__`. Of keys that Unicode calls equivalent, which are one key to a Swift
  /// dictionary, the last one in the file counts; ``metadataPairs`` has all.
  public let metadata: [String: String]
  /// The arrays in the order of their bytes.
  public let entries: [Entry]
  let file: OpenFile
  private let index: [ByteName: Int]
  private let equivalentPairs: [(key: String, value: String)]

  /// Opens a file and checks its whole header.
  ///
  /// - Throws: `io` where the file cannot be read, `invalidFile` with the byte offset of what is wrong.
  public init(_ path: String) throws {
    let file = try OpenFile(path, expected: "a safetensors file")
    self.file = file
    let layout = try Layout(
      path: path, byteCount: file.byteCount, read: { try file.bytes($0) })
    metadata = layout.metadata
    equivalentPairs = layout.equivalentPairs
    entries = layout.entries
    index = Dictionary(
      uniqueKeysWithValues: layout.entries.enumerated().map {
        (ByteName($0.element.name), $0.offset)
      }
    )
  }

  /// The header's `__metadata__`, all of it, sorted by the bytes of the keys.
  public var metadataPairs: [(key: String, value: String)] {
    (equivalentPairs.isEmpty ? metadata.map { $0 } : equivalentPairs).sorted {
      $0.key.utf8.lexicographicallyPrecedes($1.key.utf8)
    }
  }

  public var path: String { file.path }

  /// The names of all arrays, in the order of their bytes.
  public var names: [String] { entries.map(\.name) }

  /// The description of the array of that name; nil where there is none.
  public func entry(_ name: String) -> Entry? { index[ByteName(name)].map { entries[$0] } }

  /// Reads one array.
  ///
  /// - Throws: `missing` where there is none of that name, `unsupported` where its element type is one
  ///   that arrays do not have, `invalidFile` for a bool that is neither 0 nor 1.
  public func array(_ name: String) throws -> NDArray {
    let (dtype, entry) = try described(name)
    var array = try NDArray(checking: TensorType(dtype, entry.shape))
    try array.withUnsafeMutableBytes { target in
      try file.read(into: target, at: entry.bytes.lowerBound)
      // Kernels count on it; a byte of 2 would be true to some of them and false to others.
      if dtype == .bool, let offset = target.firstIndex(where: { $0 > 1 }) {
        throw ApusError(
          .invalidFile, "a bool of tensor '\(name)' is \(target[offset])",
          at: place(path, entry.bytes.lowerBound + offset), expected: "0 or 1")
      }
    }
    return array
  }

  /// The description of an array that can be read.
  ///
  /// - Throws: `missing` where there is none of that name, `unsupported` for an element type that arrays do not have.
  func described(_ name: String) throws -> (dtype: DType, entry: Entry) {
    guard let entry = entry(name) else {
      let near = names.prefix(8).joined(separator: ", ")
      throw ApusError(
        .missing, "there is no tensor '\(name)' in the file", at: path,
        expected: entries.isEmpty
          ? "a file with tensors" : "one of \(near)\(entries.count > 8 ? ", …" : "")")
    }
    guard let dtype = entry.dtype else {
      throw ApusError(
        .unsupported, "tensor '\(name)' has element type \(entry.dtypeName)",
        at: place(path, entry.bytes.lowerBound),
        expected: "one of \(Layout.supportedNames.joined(separator: ", "))")
    }
    return (dtype, entry)
  }

  /// Reads all arrays, in the order of their bytes.
  ///
  /// - Throws: as ``array(_:)``.
  public func arrays() throws -> NamedArrays {
    var result = NamedArrays()
    for entry in entries { result[entry.name] = try array(entry.name) }
    return result
  }

  /// Writes a file, atomically: on failure the old one stays and nothing else is left behind.
  ///
  /// Arrays stand in the reference's order: by element type, widest first, then by name.
  ///
  /// - `arrays`: a dictionary, or ``NamedArrays``.
  /// - `metadata`: a dictionary, or ``metadataPairs``.
  /// - Throws: `invalidArgument` for the name `__metadata__` and a name that stands twice, `io` where the
  ///   file cannot be written.
  public static func write(
    _ arrays: some Sequence<(key: String, value: NDArray)>,
    metadata: some Sequence<(key: String, value: String)> = [:] as [String: String],
    to path: String, keepingPrevious: Bool = false
  ) throws {
    let metadata = try uniquelyNamed(metadata, path: path) {
      $0.key.utf8.lexicographicallyPrecedes($1.key.utf8)
    }
    let sorted = try uniquelyNamed(arrays, path: path) { a, b in
      let (x, y) = (Layout.order(a.value.dtype), Layout.order(b.value.dtype))
      return x != y ? x > y : a.key.utf8.lexicographicallyPrecedes(b.key.utf8)
    }
    let header = try header(sorted.map { ($0.key, $0.value.type) }, metadata, path: path)
    try AtomicFile.write(to: path, keepingPrevious: keepingPrevious) { writer in
      try writer.write(header)
      for (_, array) in sorted { try array.withUnsafeBytes { try writer.write($0) } }
    }
  }

  /// The bytes before the data.
  private static func header(
    _ tensors: [(name: String, type: TensorType)], _ metadata: [(key: String, value: String)],
    path: String
  ) throws -> [UInt8] {
    var members: [(String, JSON)] = []
    if !metadata.isEmpty {
      members.append((Layout.metadataName, .object(metadata.map { ($0.key, .string($0.value)) })))
    }
    var offset = 0
    for (name, type) in tensors {
      guard name != Layout.metadataName else {
        throw ApusError(
          .invalidArgument, "a tensor cannot be named '\(name)'", at: path, expected: "another name"
        )
      }
      let end = offset + type.byteCount
      members.append(
        (
          name,
          .object([
            ("dtype", .string(Layout.name(type.dtype))),
            ("shape", .array(type.shape.dimensions.map { .integer($0) })),
            ("data_offsets", [.integer(offset), .integer(end)]),
          ])
        ))
      offset = end
    }
    var text = Array(JSON.object(members).text.utf8)
    text += [UInt8](repeating: UInt8(ascii: " "), count: (64 - (8 + text.count) % 64) % 64)
    guard text.count <= Layout.headerLimit else {
      throw ApusError(
        .invalidArgument, "the header would take \(text.count) bytes", at: path,
        expected: "at most \(Layout.headerLimit), so fewer tensors or less metadata")
    }
    let count = UInt64(text.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * UInt64($0))) } + text
  }
}
