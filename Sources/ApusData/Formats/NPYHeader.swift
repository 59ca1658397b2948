// The header of an `.npy` file: a Python dictionary. The file itself: NPY.swift.

import ApusGraph

/// The dictionary at the head of an `.npy` file.
struct NPYHeader {
  /// What it says.
  private(set) var elements = StoredElements(kind: .same(.f32), shape: [])

  private let text: [UInt8]
  /// Whether Python 2 may have written it, whose integers can end in L.
  private let mayBeOld: Bool
  private var at = 0
  private let place: (Int) -> String

  /// Reads the dictionary, a Python literal with exactly the three keys of the format.
  ///
  /// - `place`: how errors name the place of a byte of the text.
  /// - Throws: `invalidFile`; `unsupported` for elements that arrays do not have.
  init(_ text: [UInt8], version: Int, place: @escaping (Int) -> String) throws {
    self.text = text
    self.place = place
    mayBeOld = version < 3
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
      case "fortran_order": elements.isColumnMajor = try bool()
      case "shape": elements.shape = try tuple()
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
    _ what: String, at offset: Int? = nil, _ kind: ApusError.Kind = .invalidFile, expected: String
  ) -> ApusError {
    ApusError(kind, what, at: place(offset ?? at), expected: expected)
  }

  /// Steps over what Python takes for white space within brackets.
  private mutating func skipSpace() {
    while at < text.count, [0x20, 0x09, 0x0a, 0x0c, 0x0d].contains(text[at]) { at += 1 }
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
    // Python 2 marks texts of Unicode.
    _ = accept("u")
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
      let isNumber = digits.count == 1 || digits.first != 0x30
      guard isNumber, let extent = Int(String(decoding: digits, as: UTF8.self)) else {
        throw fail("malformed shape", expected: "extents, 0 or more")
      }
      at += digits.count
      if mayBeOld { _ = accept("L") }
      extents.append(extent)
      guard extents.count <= 64 else {
        throw fail("the shape has too many axes", expected: "64 at most")
      }
      if !accept(",") {
        // (3) is a number in brackets, (3,) a list of one.
        guard extents.count > 1 else { throw fail("malformed shape", expected: "','") }
        try expect(")")
        break
      }
    }
    return Shape(extents)
  }

  /// The types by kind and size, by NumPy's letters, and by their names, which have no byte order.
  private static let kinds: [String: StoredElements.Kind] = [
    "f4": .same(.f32), "f2": .same(.f16), "f8": .same(.f64), "i4": .same(.i32), "i8": .same(.i64),
    "u1": .same(.u8), "b1": .same(.bool), "i1": .i8, "i2": .i16, "u2": .u16, "u4": .u32,
  ]
  private static let letters = [
    "e": "f2", "f": "f4", "d": "f8", "b": "i1", "h": "i2", "i": "i4", "l": "i8", "q": "i8",
    "B": "u1", "H": "u2", "I": "u4", "?": "b1",
  ]
  private static let names = [
    "float16": "f2", "float32": "f4", "float64": "f8", "int8": "i1", "int16": "i2", "int32": "i4",
    "int64": "i8", "uint8": "u1", "uint16": "u2", "uint32": "u4", "bool": "b1",
  ]

  private mutating func setElement(_ descr: String) throws {
    let hasOrder = descr.first.map { "<>|=".contains($0) } ?? false
    let code = hasOrder ? String(descr.dropFirst()) : Self.names[descr] ?? descr
    guard let kind = Self.kinds[Self.letters[code] ?? code] else {
      throw fail(
        "elements of type '\(descr)' are not read", at: at, .unsupported,
        expected:
          "one of \(Self.kinds.keys.sorted().joined(separator: ", ")), after '<', '>' or '|'")
    }
    elements.kind = kind
    elements.isBigEndian = descr.first == ">"
  }
}
