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
  /// - Throws: `io` where the file cannot be read; `invalidFile` with the byte offset where its magic
  ///   number, extents, length or compression are wrong.
  public static func read(_ path: String) throws -> NDArray {
    try parse(try fileBytes(path, expected: "an IDX file"), path: path)
  }

  /// The array in the bytes of an IDX file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:)``. Offsets count in the decompressed bytes except where the compression
  ///   itself is damaged.
  public static func parse(_ bytes: [UInt8], path: String = "<bytes>") throws -> NDArray {
    let isCompressed = Gzip.isGzip(bytes)
    let content = isCompressed ? try Gzip.inflate(bytes, path: path) : bytes
    var cursor = ByteCursor(content, path: isCompressed ? "\(path) (decompressed)" : path)

    let magic = try cursor.bigEndian(UInt32.self, "the magic number")
    guard magic >> 16 == 0, let element = Element(rawValue: UInt8(magic >> 8 & 0xff)) else {
      throw cursor.fail(
        "the magic number 0x\(String(magic, radix: 16)) is not that of an IDX file", at: 0,
        expected: "00 00, an element type (08 09 0b 0c 0d 0e), the number of axes")
    }
    let rank = Int(magic & 0xff)
    guard rank >= 1 else {
      throw cursor.fail("the array has no axis", at: 3, expected: "1 to 255 axes")
    }
    var extents: [Int] = []
    for axis in 0..<rank {
      extents.append(Int(try cursor.bigEndian(UInt32.self, "the extent of axis \(axis)")))
    }
    let shape = Shape(extents)
    guard let count = checkedCount(extents),
      case let (byteCount, overflow) = count.multipliedReportingOverflow(by: element.byteCount),
      !overflow
    else {
      throw cursor.fail(
        "the extents \(shape) are absurd", at: 4, expected: "an array that fits in memory")
    }
    guard byteCount == cursor.remaining else {
      throw cursor.fail(
        byteCount > cursor.remaining
          ? "the file ends within its elements" : "bytes follow the last element",
        at: byteCount > cursor.remaining ? content.count : cursor.offset + byteCount,
        expected: "\(byteCount) bytes of elements for shape \(shape), there are \(cursor.remaining)"
      )
    }
    return element.array(content[cursor.offset...], shape: shape)
  }

  /// The element types of the format.
  private enum Element: UInt8 {
    case u8 = 0x08, i8 = 0x09, i16 = 0x0b, i32 = 0x0c, f32 = 0x0d, f64 = 0x0e

    var byteCount: Int {
      switch self {
      case .u8, .i8: 1
      case .i16: 2
      case .i32, .f32: 4
      case .f64: 8
      }
    }

    func array(_ bytes: ArraySlice<UInt8>, shape: Shape) -> NDArray {
      switch self {
      case .u8: return copied(bytes, .u8, shape)
      case .i32: return copied(bytes, .i32, shape)
      case .f32: return copied(bytes, .f32, shape)
      case .f64: return copied(bytes, .f64, shape)
      case .i8: return NDArray(bytes.map { Int32(Int8(bitPattern: $0)) }, shape: shape)
      case .i16:
        let starts = stride(from: bytes.startIndex, to: bytes.endIndex, by: 2)
        return NDArray(
          starts.map { Int32(Int16(bitPattern: UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]))) },
          shape: shape)
      }
    }

    private func copied(_ bytes: ArraySlice<UInt8>, _ dtype: DType, _ shape: Shape) -> NDArray {
      NDArray(TensorType(dtype, shape)) { target in
        target.copyBytes(from: bytes)
        target.swapElements(ofSize: byteCount)
      }
    }
  }
}
