// Words and their sounds, in the form in which Festival keeps lexicons: an entry a line, in ISO-8859-1.
//
//     MNCL
//     ("abbinasse" V-S3_CI (((a b) 0) ((n a1 s) 1) ((s e) 0)))
//
// word, part of speech, syllables; of each syllable its phones and whether it is stressed.

import Apus

/// A word and the ways in which it is said.
struct SpokenWord: Equatable {
  var letters: [UInt8]
  /// Phones by the lexicon's names. A word that is written as another has theirs too.
  var sounds: [[String]]

  /// ISO-8859-1 has Unicode's first 256 characters.
  var text: String {
    String(String.UnicodeScalarView(letters.map { Unicode.Scalar($0) }))
  }
}

enum PronouncingLexicon {
  /// The words of a file, each once, in the order in which they first stand there.
  ///
  /// - Throws: `io` where it cannot be read; `invalidFile` with the line that is no entry, and for a file without any.
  static func read(_ path: String) throws -> [SpokenWord] {
    try parse(TextFile.bytes(path, expected: "a lexicon of Festival"), path: path)
  }

  /// As ``read(_:)``, of bytes; `path` names them in errors.
  static func parse(_ bytes: [UInt8], path: String) throws -> [SpokenWord] {
    var words: [SpokenWord] = []
    var places: [[UInt8]: Int] = [:]
    var names: [[UInt8]: String] = [:]
    for (number, line) in bytes.split(
      separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false
    ).enumerated() {
      guard line.first == UInt8(ascii: "(") else {
        // What stands before the first entry is the file's kind.
        if words.isEmpty || line.allSatisfy({ $0 <= 0x20 }) { continue }
        throw mistake("the line begins with no parenthesis", number, path)
      }
      var entry = Entry(line)
      guard let (letters, phones) = entry.read() else {
        throw mistake("the line is no entry", number, path)
      }
      let sounds = phones.map { phone in
        if let name = names[phone] { return name }
        let name = String(decoding: phone, as: UTF8.self)
        names[phone] = name
        return name
      }
      if let place = places[letters] {
        if !words[place].sounds.contains(sounds) { words[place].sounds.append(sounds) }
      } else {
        places[letters] = words.count
        words.append(SpokenWord(letters: letters, sounds: [sounds]))
      }
    }
    guard !words.isEmpty else {
      throw ApusError(
        .invalidFile, "the file has no entries", at: path, expected: "a lexicon of Festival")
    }
    return words
  }

  private static func mistake(_ what: String, _ line: Int, _ path: String) -> ApusError {
    ApusError(
      .invalidFile, what, at: "\(path), line \(line + 1)",
      expected: "(\"word\" TAG (((phone …) stress) …))")
  }

  /// One entry as it is read from left to right.
  private struct Entry {
    private let bytes: ArraySlice<UInt8>
    private var place: Int

    init(_ bytes: ArraySlice<UInt8>) {
      self.bytes = bytes
      place = bytes.startIndex
    }

    /// Letters and phones; nil for what is no entry.
    mutating func read() -> (letters: [UInt8], phones: [[UInt8]])? {
      guard take("("), take("\""),
        let end = bytes[place...].firstIndex(of: UInt8(ascii: "\"")), end > place
      else { return nil }
      let letters = Array(bytes[place..<end])
      place = end + 1
      guard let tag = atom(), !tag.isEmpty, take("(") else { return nil }
      var phones: [[UInt8]] = []
      while take("(") {
        guard take("(") else { return nil }
        while let phone = atom() { phones.append(Array(phone)) }
        guard take(")"), let stress = atom(), !stress.isEmpty, take(")") else { return nil }
      }
      guard take(")"), take(")"), !phones.isEmpty else { return nil }
      return (letters, phones)
    }

    private mutating func skipSpaces() {
      while place < bytes.endIndex, bytes[place] <= 0x20 { place += 1 }
    }

    private mutating func take(_ mark: Unicode.Scalar) -> Bool {
      skipSpaces()
      guard place < bytes.endIndex, bytes[place] == UInt8(ascii: mark) else { return false }
      place += 1
      return true
    }

    /// A word without parentheses.
    private mutating func atom() -> ArraySlice<UInt8>? {
      skipSpaces()
      let start = place
      while place < bytes.endIndex, bytes[place] > 0x20, bytes[place] != UInt8(ascii: "("),
        bytes[place] != UInt8(ascii: ")")
      { place += 1 }
      return place > start ? bytes[start..<place] : nil
    }
  }
}
