// Images as plain bytes: the binary formats of Netpbm, P5 (grey) and P6 (colour), of 8 and 16 bits.
//
//     P6   width height   maxval   height · width · 3 numbers
//
// Words are separated by white space, and "#" begins a comment. One white space follows the last word. Numbers take one
// byte, or two with the higher first where maxval is above 255. Format: https://netpbm.sourceforge.net/doc/ppm.html.

import ApusGraph

/// Reads images in the formats of Netpbm: `.pgm` and `.ppm`.
///
///     let image = try PNM.read("photo.ppm")      // u8[height,width,3]
public enum PNM {
  /// The image in a file: u8[height, width, channels] with 1 or 3 channels, or i32 where its numbers have 16 bits.
  ///
  /// Numbers are as they stand in the file, from 0 to the largest one that it names.
  ///
  /// - `limit`: the most bytes that the array may have; nil stands for four fifths of the free memory.
  /// - Throws: `io` where the file cannot be read; `invalidFile` with the byte offset where its header, its length or a
  ///   number is wrong; `unsupported` for the formats of Netpbm that are text, bits or have alpha; `resource` where the
  ///   array is larger than `limit`, before memory is taken.
  public static func read(_ path: String, limit: Int? = nil) throws -> NDArray {
    try image(.file(try OpenFile(path, expected: "a .pgm or .ppm file")), limit).array
  }

  /// The image in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:limit:)``.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", limit: Int? = nil
  ) throws -> NDArray {
    try image(.memory(bytes, path: path), limit).array
  }

  /// The image as bytes of which 255 is the brightest, whatever the file's largest number is.
  ///
  /// - Throws: as ``read(_:limit:)``.
  package static func levels(_ bytes: [UInt8], path: String, limit: Int) throws -> NDArray {
    // Numbers of 16 bits take 4 bytes for a moment.
    let (array, largest) = try image(
      .memory(bytes, path: path),
      limit.multipliedReportingOverflow(by: 4).overflow ? nil : 4 * limit)
    guard array.count <= limit else {
      throw ApusError(
        .resource, "the image, \(array.type), would take \(array.count) bytes", at: path,
        expected: "at most \(limit) bytes, the limit")
    }
    if largest == 255 { return array }
    return try NDArray(
      checking: array.integers.map { UInt8(($0 * 255 + largest / 2) / largest) }, shape: array.shape
    )
  }

  /// Whether a file begins as one of these formats does.
  package static func isPNM(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 3 && bytes[0] == UInt8(ascii: "P") && (0x31...0x37).contains(bytes[1])
      && isSpace(bytes[2])
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || (0x09...0x0d).contains(byte)
  }

  private static func image(
    _ source: ByteSource, _ limit: Int?
  ) throws -> (array: NDArray, largest: Int) {
    let limit = try MemoryLimit(limit)
    var cursor = ByteCursor(try source.bytes(0..<min(source.byteCount, 1 << 12)), path: source.path)
    let magic = try cursor.take(min(2, cursor.remaining), "the magic number")
    guard magic.first == UInt8(ascii: "P"), let kind = magic.last, (0x31...0x37).contains(kind)
    else {
      throw cursor.fail("this is no image of Netpbm", at: 0, expected: "P5 or P6")
    }
    guard kind == UInt8(ascii: "5") || kind == UInt8(ascii: "6") else {
      throw ApusError(
        .unsupported, "the format is P\(Character(Unicode.Scalar(kind)))",
        at: place(source.path, 0),
        expected: "P5 or P6, binary grey or colour")
    }
    let channels = kind == UInt8(ascii: "5") ? 1 : 3
    let width = try number(&cursor, "the width", 1...1 << 31)
    let height = try number(&cursor, "the height", 1...1 << 31)
    let largest = try number(&cursor, "the largest number", 1...65535)
    guard let byte = try cursor.take(1, "the header").first, isSpace(byte) else {
      throw cursor.fail("the header does not end", expected: "a white space and the numbers")
    }
    let isWide = largest > 255
    let type = TensorType(isWide ? .i32 : .u8, [height, width, channels])
    let start = cursor.offset
    guard let count = checkedCount([height, width, channels]),
      case let (bytes, overflow) = count.multipliedReportingOverflow(by: isWide ? 2 : 1), !overflow,
      bytes == source.byteCount - start
    else {
      throw cursor.fail(
        "the image has \(source.byteCount - start) bytes", at: start,
        expected: "as many as \(height) x \(width) x \(channels) numbers of \(isWide ? 2 : 1) bytes"
      )
    }
    try limit.check(type.byteCount, for: "the image, \(type),", at: source.path)
    var result = try NDArray(checking: type)
    try result.withUnsafeMutableBytes { target in
      if isWide {
        try widen(source, at: start, into: target.bindMemory(to: Int32.self))
      } else {
        try source.read(into: target, at: start)
      }
      let most =
        isWide
        ? target.bindMemory(to: Int32.self).firstIndex { $0 > largest }
        : target.firstIndex { $0 > largest }
      if let most {
        throw cursor.fail(
          "a number is larger than \(largest)", at: start + most * (isWide ? 2 : 1),
          expected: "0 to \(largest), as the header says")
      }
    }
    return (result, largest)
  }

  /// Numbers of two bytes, the higher first, piece by piece.
  private static func widen(
    _ source: ByteSource, at start: Int, into target: UnsafeMutableBufferPointer<Int32>
  ) throws {
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 2)
    defer { piece.deallocate() }
    var done = 0
    while done < target.count {
      let count = min(target.count - done, piece.count / 2)
      try source.read(
        into: UnsafeMutableRawBufferPointer(rebasing: piece[..<(2 * count)]), at: start + 2 * done)
      for place in 0..<count {
        target[done + place] = Int32(piece[2 * place]) << 8 | Int32(piece[2 * place + 1])
      }
      done += count
    }
  }

  /// The next word, which is a number of the range.
  private static func number(
    _ cursor: inout ByteCursor, _ what: String, _ range: ClosedRange<Int>
  ) throws -> Int {
    var byte = try cursor.take(1, what).first!
    guard isSpace(byte) || byte == UInt8(ascii: "#") else {
      throw cursor.fail("nothing separates \(what) from what is before", expected: "a white space")
    }
    while isSpace(byte) || byte == UInt8(ascii: "#") {
      if byte == UInt8(ascii: "#") {
        while byte != 0x0a && byte != 0x0d { byte = try cursor.take(1, "a comment").first! }
      }
      byte = try cursor.take(1, what).first!
    }
    let start = cursor.offset - 1
    var value = 0
    while true {
      guard (0x30...0x39).contains(byte), value < 1 << 31 else {
        throw cursor.fail(
          "\(what) is no number", at: start, expected: "\(range.lowerBound) to \(range.upperBound)")
      }
      value = value * 10 + Int(byte - 0x30)
      guard let next = cursor.next, !isSpace(next), next != UInt8(ascii: "#") else { break }
      byte = try cursor.take(1, what).first!
    }
    guard range.contains(value) else {
      throw cursor.fail(
        "\(what) is \(value)", at: start, expected: "\(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }
}
