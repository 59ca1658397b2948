// Names as files have them: told apart by their bytes.
//
// Swift's strings are equal where Unicode calls them equivalent: "é" is one string, written as U+00E9 or
// as "e" and U+0301. To a file format, and to every other library that reads it, those are two names.

/// A name that is another one where its bytes in UTF-8 are others.
package struct ByteName: Hashable, Sendable {
  package let text: String

  package init(_ text: String) { self.text = text }

  package static func == (a: ByteName, b: ByteName) -> Bool {
    var (x, y) = (a.text, b.text)
    return x.withUTF8 { x in y.withUTF8 { y in x.count == y.count && x.elementsEqual(y) } }
  }

  package func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
