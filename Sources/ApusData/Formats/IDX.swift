// The IDX format of the MNIST family: a magic number, extents, big-endian elements.
//
//     00 00 tt rr   d1 (4 bytes) … dr   elements, row-major
//
// tt is the element type, rr the number of axes. The file may be compressed with gzip, which is told
// from its content. Format: http://yann.lecun.com/exdb/mnist (the notes at its end).

import ApusGraph

/// Reads IDX files.
///
///     let images = try IDX.read("train-images-idx3-ubyte.gz")   // u8[60000,28,28]
public enum IDX {
  /// The array in an IDX file, plain or compressed with gzip.
  ///
  /// Unsigned bytes become `u8`, 32-bit integers `i32`, floats `f32` and doubles `f64`. Signed bytes
  /// and 16-bit integers, which arrays do not have, become `i32`.
  ///
  /// - `limit`: the most bytes that the array may have; nil stands for four fifths of the free memory.
  /// - Throws: `io` where the file cannot be read; `invalidFile` with the byte offset where its magic
  ///   number, extents, length or compression are wrong; `resource` where the array is larger than `limit`,
  ///   before memory is taken.
  public static func read(_ path: String, limit: Int? = nil) throws -> NDArray {
    try array(.file(try OpenFile(path, expected: "an IDX file")), limit)
  }

  /// The array in the bytes of an IDX file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:limit:)``. Offsets count in the decompressed bytes except where the compression
  ///   itself is damaged.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", limit: Int? = nil
  ) throws -> NDArray {
    try array(.memory(bytes, path: path), limit)
  }

  private static func array(_ source: ByteSource, _ limit: Int?) throws -> NDArray {
    let (stream, _) = try Gzip.stream(source)
    return try array(stream, MemoryLimit(limit))
  }

  private static func array(_ stream: some ByteStream, _ limit: MemoryLimit) throws -> NDArray {
    let magic = try stream.bigEndian(UInt32.self, "the magic number")
    guard magic >> 16 == 0, let kind = kinds[UInt8(magic >> 8 & 0xff)] else {
      throw stream.fail(
        "the magic number 0x\(String(magic, radix: 16)) is not that of an IDX file", at: 0,
        expected: "00 00, an element type (08 09 0b 0c 0d 0e), the number of axes")
    }
    let rank = Int(magic & 0xff)
    guard rank >= 1 else {
      throw stream.fail("the array has no axis", at: 3, expected: "1 to 255 axes")
    }
    var extents: [Int] = []
    for axis in 0..<rank {
      extents.append(Int(try stream.bigEndian(UInt32.self, "the extent of axis \(axis)")))
    }
    let elements = StoredElements(kind: kind, shape: Shape(extents), isBigEndian: true)
    guard elements.byteCount != nil else {
      throw stream.fail(
        "the extents \(elements.shape) are absurd", at: 4, expected: "an array that fits in memory")
    }
    return try elements.array(from: stream, limit: limit, name: "the array")
  }

  /// The element types of the format.
  private static let kinds: [UInt8: StoredElements.Kind] = [
    0x08: .same(.u8), 0x09: .i8, 0x0b: .i16, 0x0c: .same(.i32), 0x0d: .same(.f32),
    0x0e: .same(.f64),
  ]
}
