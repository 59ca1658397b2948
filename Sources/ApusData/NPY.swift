// NumPy's array files.
//
//     93 "NUMPY"   major minor   header length   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//
// The header is padded with spaces and ends in a line feed, so that the elements begin at a multiple of
// 64. Format: NEP 1, https://numpy.org/neps/nep-0001-npy-format.html. Archives of them: NPZ.swift.

import ApusGraph

/// Reads and writes `.npy` files.
///
///     let x = try NPY.read("x.npy")
///     try NPY.write(x, to: "y.npy")
public enum NPY {
  /// The array in a file. Column-major and big-endian files are turned around. `int8`, `int16` and
  /// `uint16` become i32 and `uint32` i64, which hold their values.
  ///
  /// - Throws: `io` where the file cannot be read, `invalidFile` with the byte offset of what is wrong,
  ///   `unsupported` for elements that arrays do not have (complex, strings, objects, uint64, …).
  public static func read(_ path: String) throws -> NDArray {
    try parse(try fileBytes(path, expected: "an .npy file"), path: path)
  }

  /// The array in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:)``.
  public static func parse(_ bytes: [UInt8], path: String = "<bytes>") throws -> NDArray {
    var cursor = ByteCursor(bytes, path: path)
    guard try cursor.take(6, "the magic string").elementsEqual(magic) else {
      throw cursor.fail("this is not an .npy file", at: 0, expected: "\\x93NUMPY")
    }
    let version = try cursor.littleEndian(UInt16.self, "the version")
    guard (1...3).contains(version & 0xff), version >> 8 == 0 else {
      throw cursor.fail(
        "the format's version is \(version & 0xff).\(version >> 8)", at: 6,
        expected: "1.0, 2.0 or 3.0")
    }
    let length =
      version == 1
      ? Int(try cursor.littleEndian(UInt16.self, "the header's length"))
      : Int(try cursor.littleEndian(UInt32.self, "the header's length"))
    guard length <= headerLimit else {
      throw cursor.fail(
        "the header would have \(length) bytes", at: 8, expected: "at most \(headerLimit)")
    }
    let start = cursor.offset
    let header = try NPYHeader(
      Array(try cursor.take(length, "the header")), path: path, offset: start)
    guard let count = checkedCount(header.shape.dimensions),
      case let (byteCount, overflow) = count.multipliedReportingOverflow(by: header.size), !overflow
    else {
      throw cursor.fail(
        "the shape \(header.shape) is absurd", at: start, expected: "an array that fits in memory")
    }
    guard byteCount == cursor.remaining else {
      throw cursor.fail(
        byteCount > cursor.remaining
          ? "the file ends within its elements" : "bytes follow the last element",
        at: byteCount > cursor.remaining ? bytes.count : cursor.offset + byteCount,
        expected: "\(byteCount) bytes for shape \(header.shape), there are \(cursor.remaining)")
    }
    return try array(bytes[cursor.offset...], header, path: path)
  }

  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  private static let headerLimit = 1 << 20

  private static func array(_ bytes: ArraySlice<UInt8>, _ header: NPYHeader, path: String) throws
    -> NDArray
  {
    let stored = header.isColumnMajor ? Shape(header.shape.dimensions.reversed()) : header.shape
    var elements = Array(bytes)
    if header.isBigEndian {
      elements.withUnsafeMutableBytes { $0.swapElements(ofSize: header.size) }
    }
    var result: NDArray
    if let dtype = header.dtype {
      if dtype == .bool, let index = elements.firstIndex(where: { $0 > 1 }) {
        throw ApusError(
          .invalidFile, "a bool is \(elements[index])",
          at: place(path, bytes.startIndex + index), expected: "0 or 1")
      }
      result = NDArray(TensorType(dtype, stored)) { $0.copyBytes(from: elements) }
    } else {
      result = elements.withUnsafeBytes { bytes -> NDArray in
        func widened<T: BitwiseCopyable, U>(_: T.Type, _ convert: (T) -> U) -> [U] {
          stride(from: 0, to: bytes.count, by: MemoryLayout<T>.size).map {
            convert(bytes.loadUnaligned(fromByteOffset: $0, as: T.self))
          }
        }
        switch header.code {
        case "i1": return NDArray(widened(Int8.self) { Int32($0) }, shape: stored)
        case "i2": return NDArray(widened(Int16.self) { Int32($0) }, shape: stored)
        case "u2": return NDArray(widened(UInt16.self) { Int32($0) }, shape: stored)
        default: return NDArray(widened(UInt32.self) { Int64($0) }, shape: stored)
        }
      }
    }
    if header.isColumnMajor {
      let reversed = Array((0..<stored.rank).reversed())
      result = result.viewed(through: View(dense: stored).transposed(reversed))
    }
    return result
  }

  /// Writes an array, atomically, with the very bytes that `numpy.save` gives.
  ///
  /// - Throws: `unsupported` for bf16, which NumPy does not have; `io` where the file cannot be written.
  public static func write(_ array: NDArray, to path: String) throws {
    let header = try header(array.type, path: path)
    try AtomicFile.write(to: path) { writer in
      try writer.write(header)
      try array.withUnsafeBytes { try writer.write($0) }
    }
  }

  /// The bytes of a file with this array.
  ///
  /// - Throws: `unsupported` for bf16.
  static func bytes(_ array: NDArray, path: String) throws -> [UInt8] {
    try header(array.type, path: path) + array.withUnsafeBytes { Array($0) }
  }

  private static func header(_ type: TensorType, path: String) throws -> [UInt8] {
    let code =
      switch type.dtype {
      case .f32: "<f4"
      case .f16: "<f2"
      case .f64: "<f8"
      case .i32: "<i4"
      case .i64: "<i8"
      case .u8: "|u1"
      case .bool: "|b1"
      case .bf16:
        throw ApusError(
          .unsupported, "NumPy has no bf16, the type of the array", at: path,
          expected: "another type: cast to f32 first")
      }
    let extents = type.shape.dimensions
    let shape =
      extents.count == 1
      ? "(\(extents[0]),)" : "(" + extents.map(String.init).joined(separator: ", ") + ")"
    var text = "{'descr': '\(code)', 'fortran_order': False, 'shape': \(shape), }"
    // NumPy leaves room for the first extent to grow in place to 21 digits.
    if let first = extents.first {
      text += String(repeating: " ", count: max(0, 21 - String(first).count))
    }
    let isLong = text.utf8.count + 1 + 10 + 64 > Int(UInt16.max)
    let prefix = isLong ? 12 : 10
    text += String(repeating: " ", count: (64 - (prefix + text.utf8.count + 1) % 64) % 64) + "\n"
    let length = (0..<prefix - 8).map { UInt8(truncatingIfNeeded: text.utf8.count >> (8 * $0)) }
    return magic + [isLong ? 2 : 1, 0] + length + Array(text.utf8)
  }
}

/// The dictionary at the head of an `.npy` file.
struct NPYHeader {
  private(set) var shape: Shape = []
  private(set) var isColumnMajor = false
  private(set) var isBigEndian = false
  /// The kind and size of an element as NumPy writes them, such as `f4`.
  private(set) var code = ""
  /// Bytes an element takes in the file.
  private(set) var size = 0
  /// The type with the same bytes, nil where elements are widened.
  private(set) var dtype: DType?

  private let text: [UInt8]
  private var at = 0
  private let path: String
  private let start: Int

  /// Reads the dictionary, a Python literal with exactly the three keys of the format.
  init(_ text: [UInt8], path: String, offset: Int) throws {
    self.text = text
    self.path = path
    start = offset
    try expect("{")
    var keys = Set<String>()
    while !accept("}") {
      let keyStart = at
      let key = try string()
      guard keys.insert(key).inserted else {
        throw fail("the key '\(key)' stands twice", at: keyStart, expected: "unique keys")
      }
      try expect(":")
      switch key {
      case "descr": try setElement(try string())
      case "fortran_order": isColumnMajor = try bool()
      case "shape": shape = try tuple()
      default:
        throw fail(
          "unknown key '\(key)'", at: keyStart, expected: "descr, fortran_order, shape")
      }
      if !accept(",") {
        try expect("}")
        break
      }
    }
    guard keys.count == 3 else {
      throw fail("the header lacks keys", expected: "descr, fortran_order and shape")
    }
    skipSpace()
    guard at == text.count else { throw fail("something follows the header", expected: "spaces") }
  }

  private func fail(
    _ what: String, at place: Int? = nil, _ kind: ApusError.Kind = .invalidFile, expected: String
  ) -> ApusError {
    ApusError(kind, what, at: ApusData.place(path, start + (place ?? at)), expected: expected)
  }

  private mutating func skipSpace() {
    while at < text.count, text[at] == 0x20 || (0x09...0x0d).contains(text[at]) { at += 1 }
  }

  private mutating func accept(_ word: String) -> Bool {
    skipSpace()
    guard text[at...].starts(with: word.utf8) else { return false }
    at += word.utf8.count
    return true
  }

  private mutating func expect(_ word: String) throws {
    guard accept(word) else { throw fail("malformed header", expected: "'\(word)'") }
  }

  private mutating func string() throws -> String {
    skipSpace()
    guard at < text.count, text[at] == UInt8(ascii: "'") || text[at] == UInt8(ascii: "\"") else {
      // A record type's descr is a list.
      throw fail("malformed header", expected: "a string in quotes")
    }
    guard let end = text[(at + 1)...].firstIndex(of: text[at]) else {
      throw fail("a string is not closed", expected: "a quote")
    }
    defer { at = end + 1 }
    return String(decoding: text[at + 1..<end], as: UTF8.self)
  }

  private mutating func bool() throws -> Bool {
    if accept("True") { return true }
    try expect("False")
    return false
  }

  private mutating func tuple() throws -> Shape {
    try expect("(")
    var extents: [Int] = []
    while !accept(")") {
      skipSpace()
      let digits = text[at...].prefix { (0x30...0x39).contains($0) }
      guard !digits.isEmpty, let extent = Int(String(decoding: digits, as: UTF8.self)) else {
        throw fail("malformed shape", expected: "extents, 0 or more")
      }
      at += digits.count
      extents.append(extent)
      guard extents.count <= 64 else {
        throw fail("the shape has too many axes", expected: "64 at most")
      }
      if !accept(",") {
        try expect(")")
        break
      }
    }
    return Shape(extents)
  }

  private mutating func setElement(_ descr: String) throws {
    let order = descr.first ?? " "
    code = String(descr.dropFirst())
    let known: [String: (Int, DType?)] = [
      "f4": (4, .f32), "f2": (2, .f16), "f8": (8, .f64), "i4": (4, .i32), "i8": (8, .i64),
      "u1": (1, .u8), "b1": (1, .bool), "i1": (1, nil), "i2": (2, nil), "u2": (2, nil),
      "u4": (4, nil),
    ]
    guard "<>|=".contains(order), let (size, dtype) = known[code] else {
      throw fail(
        "elements of type '\(descr)' are not read", at: at, .unsupported,
        expected: "one of \(known.keys.sorted().joined(separator: ", ")), after '<', '>' or '|'")
    }
    self.size = size
    self.dtype = dtype
    isBigEndian = order == ">"
  }
}
