// Arrays that stay in their files, of which the rows that are wanted are read: what is larger than memory.
//
// Read, not mapped (decision 19): a file that shrinks while it is mapped ends the process with SIGBUS, and one that is
// read is an error with a byte offset. The system keeps pages of files that are read as it keeps mapped ones.

import ApusGraph

/// An array in an `.npy` or `.safetensors` file, of which no more is read than is asked for.
///
///     let x = try StoredArray(npy: "x.npy")                                // f32[10000000,784], 31 GB
///     let y = try StoredArray(safetensors: "data.safetensors", "labels")
///     let some = try x.rows(0..<100)                                       // f32[100,784]
///     let data = try StoredDataset(["x": x, "y": y])
public struct StoredArray: Sendable {
  public let type: TensorType
  private let file: OpenFile
  /// Where the elements begin in the file.
  private let start: Int
  private let isBigEndian: Bool

  /// The array of an `.npy` file.
  ///
  /// - Throws: `io` where the file cannot be read; `invalidFile` with the byte offset where its header or its length is
  ///   wrong; `unsupported` for elements that arrays do not have (int8, int16, uint16 and uint32 among them), and for columns
  ///   first: `numpy.save` of `numpy.ascontiguousarray(x)` stores rows.
  public init(npy path: String) throws {
    let file = try OpenFile(path, expected: "an .npy file")
    let stream = PlainStream(.file(file))
    let elements = try NPY.header(from: stream)
    guard case .same(let dtype) = elements.kind else {
      throw ApusError(
        .unsupported, "the elements are none of an array's types", at: path,
        expected: "float16, 32 or 64, int32 or 64, uint8 or bool")
    }
    guard !elements.isColumnMajor || elements.shape.rank < 2 else {
      throw ApusError(
        .unsupported, "the array is stored columns first", at: path,
        expected: "rows first: numpy.ascontiguousarray(x) before numpy.save")
    }
    guard elements.byteCount == stream.mostRemaining else {
      throw stream.fail(
        "the file has \(stream.mostRemaining) bytes of elements",
        expected: "\(elements.byteCount ?? 0) bytes for shape \(elements.shape)")
    }
    try self.init(
      file, TensorType(dtype, elements.shape), start: stream.offset,
      isBigEndian: elements.isBigEndian && dtype.byteCount > 1)
  }

  /// An array of a `.safetensors` file.
  ///
  /// - Throws: as ``SafetensorsFile/init(_:)``, `missing` where there is none of that name, `unsupported` where its
  ///   element type is one that arrays do not have.
  public init(safetensors path: String, _ name: String) throws {
    let file = try SafetensorsFile(path)
    let (dtype, entry) = try file.described(name)
    try self.init(
      file.file, TensorType(dtype, entry.shape), start: entry.bytes.lowerBound, isBigEndian: false)
  }

  private init(_ file: OpenFile, _ type: TensorType, start: Int, isBigEndian: Bool) throws {
    guard type.rank >= 1 else {
      throw ApusError(
        .shapeMismatch, "the array is \(type)", at: file.path, expected: "an axis of rows at least")
    }
    self.file = file
    self.type = try type.checked("the array of \(file.path)")
    self.start = start
    self.isBigEndian = isBigEndian
  }

  public var path: String { file.path }
  public var shape: Shape { type.shape }
  public var dtype: DType { type.dtype }
  /// The extent of the first axis.
  public var count: Int { type.shape[0] }

  /// What a row is.
  var row: TensorType { type.with(Shape(Array(type.shape.dimensions.dropFirst()))) }

  /// Rows as an array in memory.
  ///
  /// - Throws: `outOfRange` where the array has no such rows; `invalidFile` where the file has become shorter, or a bool
  ///   is neither 0 nor 1; `io`; `resource` where there is no memory for them.
  public func rows(_ range: Range<Int>) throws -> NDArray {
    guard range.lowerBound >= 0, range.upperBound <= count else {
      throw ApusError(
        .outOfRange, "rows \(range) of \(type)", at: path, expected: "a range within 0..<\(count)")
    }
    var result = try NDArray(
      checking: type.with(Shape([range.count] + row.shape.dimensions)))
    try result.withUnsafeMutableBytes { try read(range.lowerBound, into: $0) }
    return result
  }

  /// Fills `target` with the rows from one on.
  func read(_ first: Int, into target: UnsafeMutableRawBufferPointer) throws {
    guard target.count > 0 else { return }
    let offset = start + first * row.byteCount
    try file.read(into: target, at: offset)
    if isBigEndian { target.swapElements(ofSize: dtype.byteCount) }
    // Kernels count on it; a byte of 2 would be true to some of them and false to others.
    if dtype == .bool, let wrong = target.firstIndex(where: { $0 > 1 }) {
      throw ApusError(
        .invalidFile, "a bool is \(target[wrong])", at: place(path, offset + wrong),
        expected: "0 or 1")
    }
  }

  /// Asks the system to bring rows near: it then reads from several places at once.
  func willRead(_ first: Int, _ count: Int) {
    file.willRead(start + first * row.byteCount, count * row.byteCount)
  }
}

/// A set whose examples stay in files: row `i` of every array is example `i`. No more is in memory than the batches.
///
///     let data = try StoredDataset(["x": StoredArray(npy: "x.npy"), "y": StoredArray(npy: "y.npy")])
///     try trainer.fit(data.batched(256), epochs: 3)
public struct StoredDataset: Dataset {
  public let count: Int
  public let fields: [ExampleField]
  private let arrays: [StoredArray]

  /// - Throws: `invalidArgument` without arrays or with a name that stands twice, `shapeMismatch` where the numbers of
  ///   rows differ.
  public init(_ arrays: KeyValuePairs<String, StoredArray>) throws {
    guard let first = arrays.first else {
      throw ApusError(.invalidArgument, "a data set without arrays", expected: "one at least")
    }
    for (name, array) in arrays where array.count != first.value.count {
      throw ApusError(
        .shapeMismatch, "array '\(name)' of the data set is \(array.type)", at: array.path,
        expected: "\(first.value.count) rows, as '\(first.key)' has")
    }
    guard Set(arrays.map { ByteName($0.key) }).count == arrays.count else {
      throw ApusError(
        .invalidArgument, "the data set's arrays \(arrays.map(\.key)) name one twice",
        expected: "unique names")
    }
    count = first.value.count
    fields = arrays.map { ExampleField($0.key, $0.value.row) }
    self.arrays = arrays.map(\.value)
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) throws {
    let runs = Self.runs(examples)
    for array in arrays {
      for run in runs { array.willRead(run.first, run.count) }
    }
    for (array, target) in zip(arrays, targets) {
      let size = array.row.byteCount
      var place = 0
      for run in runs {
        try array.read(
          run.first,
          into: UnsafeMutableRawBufferPointer(
            rebasing: target[place * size..<(place + run.count) * size]))
        place += run.count
      }
    }
  }

  /// Examples that follow one another are read together.
  private static func runs(_ examples: ArraySlice<Int>) -> [(first: Int, count: Int)] {
    var runs: [(first: Int, count: Int)] = []
    for example in examples {
      if let last = runs.last, last.first + last.count == example {
        runs[runs.count - 1].count += 1
      } else {
        runs.append((example, 1))
      }
    }
    return runs
  }
}
