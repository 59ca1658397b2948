// Text files that are read whole: configurations, indexes, small corpora.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Reading a text file of limited size.
package enum TextFile {
  /// The text of a file in UTF-8.
  ///
  /// - `limit`: bytes that are read at most.
  /// - Throws: `io` where the file cannot be read, `resource` where it is larger than `limit`, `invalidFile` with the
  ///   byte offset where it is no UTF-8.
  package static func contents(
    _ path: String, limit: Int = 1 << 26, expected: String? = nil
  ) throws -> String {
    let bytes = try bytes(path, limit: limit, expected: expected)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw ApusError(
        .invalidFile, "the file is not text in UTF-8", at: place(path, firstInvalid(bytes)),
        expected: "UTF-8")
    }
    return text
  }

  /// The bytes of a file, whatever they are.
  ///
  /// - Throws: `io` where the file cannot be read, `resource` where it is larger than `limit`.
  package static func bytes(
    _ path: String, limit: Int = 1 << 26, expected: String? = nil
  ) throws -> [UInt8] {
    let file = try OpenFile(path, expected: expected)
    guard file.byteCount <= limit else {
      throw ApusError(
        .resource, "the file has \(file.byteCount) bytes", at: path,
        expected: "at most \(limit) for such a file")
    }
    return try file.bytes(0..<file.byteCount)
  }

  /// Whether there is a file or folder of that name.
  package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  /// The offset of the first byte that is no part of a character.
  private static func firstInvalid(_ bytes: [UInt8]) -> Int {
    var decoder = UTF8(), place = bytes.makeIterator(), good = 0
    while case .scalarValue(let scalar) = decoder.decode(&place) {
      good += UTF8.width(scalar)
    }
    return good
  }
}
