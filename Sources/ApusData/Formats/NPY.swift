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
  /// Reads what `numpy.load` does of these types, headers that Python 2 wrote included; but nothing may follow
  /// the elements.
  ///
  /// - Throws: `io` where the file cannot be read, `invalidFile` with the byte offset of what is wrong,
  ///   `unsupported` for elements that arrays do not have (complex, strings, objects, uint64, …),
  ///   `resource` where there is no memory for the array.
  public static func read(_ path: String) throws -> NDArray {
    try array(
      from: PlainStream(.file(try OpenFile(path, expected: "an .npy file"))),
      limit: MemoryLimit(.max),
      name: "the array")
  }

  /// The array in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:)``.
  public static func parse(_ bytes: [UInt8], path: String = "<bytes>") throws -> NDArray {
    try array(
      from: PlainStream(.memory(bytes, path: path)), limit: MemoryLimit(.max), name: "the array")
  }

  /// The array that a stream of such a file holds.
  ///
  /// - `name`: what it is called in the error of the limit.
  static func array(from stream: some ByteStream, limit: MemoryLimit, name: String) throws
    -> NDArray
  {
    let elements = try header(from: stream)
    return try elements.array(from: stream, limit: limit, name: name)
  }

  /// Reads what stands before the elements.
  static func header(from stream: some ByteStream) throws -> StoredElements {
    guard try stream.take(6, "the magic string") == magic else {
      throw stream.fail("this is not an .npy file", at: 0, expected: "\\x93NUMPY")
    }
    let version = try stream.littleEndian(UInt16.self, "the version")
    guard (1...3).contains(version & 0xff), version >> 8 == 0 else {
      throw stream.fail(
        "the format's version is \(version & 0xff).\(version >> 8)", at: 6,
        expected: "1.0, 2.0 or 3.0")
    }
    let length =
      version == 1
      ? Int(try stream.littleEndian(UInt16.self, "the header's length"))
      : Int(try stream.littleEndian(UInt32.self, "the header's length"))
    guard length <= headerLimit else {
      throw stream.fail(
        "the header would have \(length) bytes", at: 8, expected: "at most \(headerLimit)")
    }
    let start = stream.offset
    let text = try stream.take(length, "the header")
    let elements = try NPYHeader(text, version: Int(version), place: { stream.place(start + $0) })
      .elements
    guard elements.byteCount != nil else {
      throw stream.fail(
        "the shape \(elements.shape) is absurd", at: start, expected: "an array that fits in memory"
      )
    }
    return elements
  }

  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  private static let headerLimit = 1 << 20

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

  /// What stands before the elements.
  ///
  /// - Throws: `unsupported` for bf16.
  static func header(_ type: TensorType, path: String) throws -> [UInt8] {
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
