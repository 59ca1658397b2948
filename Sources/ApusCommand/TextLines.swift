// The lines of a file or of standard input, many at a time.

import Apus
import ApusText
import Foundation

/// Lines as bytes, as they come.
struct TextLines {
  let path: String
  private let descriptor: CInt
  private let closes: FileHandle?
  private var buffer: [UInt8] = []
  private var line = 0
  private var isAtEnd = false
  /// Lines are given as soon as there are so many bytes of them.
  private static let batchBytes = 1 << 20
  /// A longer line is refused.
  private static let mostBytes = 1 << 28

  /// - `path`: nil for standard input.
  /// - Throws: `io` where the file cannot be opened.
  init(_ path: String?) throws {
    guard let path else {
      (self.path, descriptor, closes) = ("standard input", STDIN_FILENO, nil)
      return
    }
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw ApusError(
        .io, "cannot open the file: \(String(cString: strerror(errno)))", at: path,
        expected: "a file of texts")
    }
    self.path = path
    closes = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  /// The next lines without their ends; none after the last.
  ///
  /// - Throws: `io` where reading fails, `resource` for a line that is too long.
  mutating func nextBatch() throws -> [(line: Int, bytes: [UInt8])] {
    while !isAtEnd {
      let old = buffer.count
      guard old <= Self.mostBytes else {
        throw ApusError(
          .resource, "the line has more than \(Self.mostBytes) bytes",
          at: "\(path), line \(line + 1)", expected: "one text a line")
      }
      buffer += [UInt8](repeating: 0, count: Self.batchBytes)
      let got = buffer.withUnsafeMutableBytes {
        read(descriptor, $0.baseAddress! + old, Self.batchBytes)
      }
      buffer.removeLast(Self.batchBytes - max(got, 0))
      if got < 0 {
        if errno == EINTR { continue }
        throw ApusError(
          .io, "cannot read the file: \(String(cString: strerror(errno)))", at: path)
      }
      isAtEnd = got == 0
      // What a terminal or a pipe has given goes on at once.
      if let end = buffer.lastIndex(of: 0x0a), end >= old { return take(end + 1) }
    }
    return buffer.isEmpty ? [] : take(buffer.count)
  }

  /// The texts of lines. Bytes that are no UTF-8 become U+FFFD, as in Python.
  ///
  /// - `field`: where lines are JSON objects, the name of the text in them.
  /// - `replacements`: counts what was replaced.
  /// - Throws: `invalidFile` naming the line that is no object, or has no such string.
  func texts(
    of batch: [(line: Int, bytes: [UInt8])], field: String?, replacements: inout Int
  ) throws -> [String] {
    var texts: [String] = []
    texts.reserveCapacity(batch.count)
    for (line, bytes) in batch {
      let place = "\(path), line \(line)"
      let repaired = RepairedText(utf8: bytes)
      replacements += repaired.replacements
      guard let field else {
        texts.append(repaired.text)
        continue
      }
      let row: JSON
      do { row = try JSON(parsing: repaired.text) } catch let error as ApusError {
        throw ApusError(
          .invalidFile, error.what, at: "\(place), \(error.location ?? "")",
          expected: error.expected)
      }
      guard let value = row[field]?.string else {
        throw ApusError(
          .invalidFile, "the line has no string '\(field)'", at: place,
          expected: "an object with it")
      }
      texts.append(value)
    }
    return texts
  }

  private mutating func take(_ count: Int) -> [(line: Int, bytes: [UInt8])] {
    var lines: [(line: Int, bytes: [UInt8])] = []
    var rest = buffer[..<count]
    while !rest.isEmpty {
      let end = rest.firstIndex(of: 0x0a) ?? rest.endIndex
      var text = rest[..<end]
      if text.last == 0x0d { text.removeLast() }
      line += 1
      lines.append((line, Array(text)))
      rest = end < rest.endIndex ? rest[(end + 1)...] : []
    }
    buffer.removeFirst(count)
    return lines
  }
}
