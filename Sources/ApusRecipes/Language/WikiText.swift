// Words out of a dump of Wikipedia: XML around text with marks of its own.
//
//     <text xml:space="preserve">'''Anarchism''' is a [[political philosophy|philosophy]] &lt;ref&gt;…&lt;/ref&gt;</text>

import Apus

enum WikiText {
  /// The words of all articles, a line of a text each: letters in lower case, without templates, tables, references and
  /// files.
  static func lines(_ dump: [UInt8]) -> [[String]] {
    var lines: [[String]] = []
    var place = 0
    while let start = find("<text", in: dump, from: place),
      let open = dump[start...].firstIndex(of: UInt8(ascii: ">"))
    {
      let end = find("</text>", in: dump, from: open) ?? dump.count
      place = end
      if open > start, dump[open - 1] == UInt8(ascii: "/") { continue }
      // Marks of XML first, then what stood behind them.
      let text = unescaped(unescaped(dump[(open + 1)..<max(end, open + 1)])[...])
      lines += words(Plain(text).read())
    }
    return lines
  }

  /// Runs of letters, line by line; lines without any are left out.
  static func words(_ text: [UInt8]) -> [[String]] {
    text.split(separator: UInt8(ascii: "\n")).compactMap { line in
      var words: [String] = []
      var word: [UInt8] = []
      func end() {
        if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
        word = []
      }
      var place = line.startIndex
      while place < line.endIndex {
        let byte = line[place]
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): word.append(byte | 0x20)
        case UInt8(ascii: "a")...UInt8(ascii: "z"): word.append(byte)
        // Dashes and quotation marks of Unicode are three bytes that begin with these two.
        case 0xe2 where place + 2 < line.endIndex && line[place + 1] == 0x80:
          end()
          place += 2
        case 0x80...: word.append(byte)
        default: end()
        }
        place += 1
      }
      end()
      return words.isEmpty ? nil : words
    }
  }

  private static func find(_ what: StaticString, in bytes: [UInt8], from start: Int) -> Int? {
    let count = what.utf8CodeUnitCount
    guard bytes.count >= count, start <= bytes.count - count else { return nil }
    return bytes.withUnsafeBufferPointer { bytes in
      (start...(bytes.count - count)).first { place in
        (0..<count).allSatisfy { bytes[place + $0] == what.utf8Start[$0] }
      }
    }
  }

  private static let entities: [(name: [UInt8], value: UInt8)] = [
    ("lt", "<"), ("gt", ">"), ("quot", "\""), ("apos", "'"), ("amp", "&"), ("nbsp", " "),
  ].map { (Array($0.0.utf8), Array($0.1.utf8)[0]) }

  private static func unescaped(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var place = bytes.startIndex
    while place < bytes.endIndex {
      if bytes[place] == UInt8(ascii: "&") {
        let rest = bytes[(place + 1)...].prefix(6)
        if let end = rest.firstIndex(of: UInt8(ascii: ";")),
          let entity = entities.first(where: { $0.name.elementsEqual(rest[..<end]) })
        {
          result.append(entity.value)
          place = end + 1
          continue
        }
      }
      result.append(bytes[place])
      place += 1
    }
    return result
  }

  /// An article's text as it is read from left to right. What does not end goes to the article's end.
  private struct Plain {
    private let bytes: [UInt8]
    private var place = 0
    private var result: [UInt8] = []

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    consuming func read() -> [UInt8] {
      while place < bytes.count {
        if isAt("{{") {
          skip("{{", "}}")
        } else if isAt("{|") {
          skip("{|", "|}")
        } else if isAt("<!--") {
          skip(to: "-->")
        } else if isAt("<") {
          tag()
        } else if isAt("[[") {
          link()
        } else if isAt("[http") || isAt("http://") || isAt("https://") {
          while place < bytes.count, bytes[place] > 0x20, !isAt("]") { place += 1 }
        } else {
          result.append(bytes[place])
          place += 1
        }
      }
      return result
    }

    private func isAt(_ mark: StaticString) -> Bool {
      let count = mark.utf8CodeUnitCount
      return place + count <= bytes.count
        && (0..<count).allSatisfy { bytes[place + $0] == mark.utf8Start[$0] }
    }

    /// Goes on behind the mark that ends what begins here, with others of its kind inside.
    private mutating func skip(_ open: StaticString, _ close: StaticString) {
      var depth = 0
      while place < bytes.count {
        if isAt(open) {
          depth += 1
          place += 2
        } else if isAt(close) {
          depth -= 1
          place += 2
          if depth == 0 { break }
        } else {
          place += 1
        }
      }
      result.append(0x20)
    }

    private mutating func skip(to mark: StaticString) {
      while place < bytes.count, !isAt(mark) { place += 1 }
      place = min(place + mark.utf8CodeUnitCount, bytes.count)
    }

    /// A tag is a space; a reference goes with what it holds.
    private mutating func tag() {
      let isReference = isAt("<ref>") || isAt("<ref ")
      let start = place
      while place < bytes.count, bytes[place] != UInt8(ascii: ">") { place += 1 }
      let isEmpty = place > start && bytes[place - 1] == UInt8(ascii: "/")
      place = min(place + 1, bytes.count)
      if isReference, !isEmpty { skip(to: "</ref>") }
      result.append(0x20)
    }

    /// `[[target|words]]` is its words; files and categories are nothing.
    private mutating func link() {
      for kind: StaticString in ["[[File:", "[[Image:", "[[Category:"] where isAt(kind) {
        return skip("[[", "]]")
      }
      place += 2
      var end = place
      while end < bytes.count, bytes[end] != UInt8(ascii: "]"), bytes[end] != UInt8(ascii: "\n") {
        if bytes[end] == UInt8(ascii: "|") { place = end + 1 }
        end += 1
      }
      result += bytes[min(place, end)..<end]
      place = end
    }
  }
}
