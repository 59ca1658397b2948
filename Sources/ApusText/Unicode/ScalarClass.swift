// Classes of Unicode scalars, as the parts of the Python package tokenizers know them.
//
// Its parts go by different versions of Unicode: letters and numbers by 16.0, the words of `\w` by another, the
// punctuation and the control characters of BERT's tables by one of 2016. The table holds what each of them says.

/// Classes that a scalar is of.
struct ScalarClass: OptionSet, Sendable {
  let rawValue: UInt16

  /// Lu and Lt.
  static let upper = ScalarClass(rawValue: 1)
  /// Ll.
  static let lower = ScalarClass(rawValue: 1 << 1)
  /// Lm and Lo.
  static let otherLetter = ScalarClass(rawValue: 1 << 2)
  /// M, as patterns know it.
  static let mark = ScalarClass(rawValue: 1 << 3)
  /// N, as patterns know it.
  static let number = ScalarClass(rawValue: 1 << 4)
  /// White space.
  static let space = ScalarClass(rawValue: 1 << 5)
  /// `\w` of the pre-tokenizer `Whitespace`.
  static let word = ScalarClass(rawValue: 1 << 6)
  /// N, as the pre-tokenizer `Digits` knows it.
  static let numeric = ScalarClass(rawValue: 1 << 7)
  /// P, and what ASCII has besides.
  static let punctuation = ScalarClass(rawValue: 1 << 8)
  /// M, as `StripAccents` knows it.
  static let combining = ScalarClass(rawValue: 1 << 9)
  /// What BERT's cleaning leaves out.
  static let control = ScalarClass(rawValue: 1 << 10)
  /// Mn, as BERT's normaliser knows it.
  static let accent = ScalarClass(rawValue: 1 << 11)

  static let letter: ScalarClass = [.upper, .lower, .otherLetter]

  /// The classes of a scalar.
  @inline(__always) static func of(_ scalar: UInt32) -> ScalarClass {
    ScalarClass(rawValue: table[scalar])
  }

  private static let table: ScalarTable = {
    var reader = PackedNumbers(sets)
    let masks = (0..<reader.next()).map { _ in UInt16(reader.next()) }
    reader = PackedNumbers(runs)
    var list: [(scalars: Range<Int>, value: UInt16)] = []
    var start = 0
    while !reader.isAtEnd {
      let end = start + reader.next()
      list.append((start..<end, masks[reader.next()]))
      start = end
    }
    return ScalarTable(list)
  }()
}

/// Whether BERT's normaliser sets the scalar apart: those of the blocks of CJK ideographs that it lists.
func isIdeograph(_ scalar: UInt32) -> Bool {
  switch scalar {
  case 0x3400...0x4dbf, 0x4e00...0x9fff, 0xf900...0xfaff, 0x20000...0x2a6df, 0x2a700...0x2b81f,
    0x2b920...0x2ceaf, 0x2f800...0x2fa1f:
    true
  default: false
  }
}
