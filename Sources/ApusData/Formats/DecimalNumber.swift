// Decimal numbers in texts, and the floats and integers nearest to them.
//
// Up to 19 digits and a small exponent are combined in double precision, as Clinger 1990 ("How to read
// floating point numbers accurately") does where that is exact. A float comes of it in one rounding unless
// the double lies so near the middle between two floats that its own error could decide; these, and all
// others, go the long way through the system's conversion, which is exact.

import ApusGraph

/// A number as its text has it: `mantissa` x 10^`exponent`.
struct DecimalNumber {
  enum Refusal: Error {
    /// Nearer to infinity than to any number of the type.
    case tooLarge
    /// A whole number between those that the type has.
    case notExact
    /// A number with a fraction, where only whole ones are held.
    case notWhole
  }

  private enum Kind { case finite, infinity, nan }

  private var kind = Kind.finite
  private var isNegative = false
  /// The first 19 digits.
  private var mantissa: UInt64 = 0
  private var exponent = 0
  /// Whether digits other than 0 follow those of the mantissa.
  private var isCut = false
  /// Whether it has neither a point nor an exponent.
  private var isWhole = true

  /// Digits with at most one point and an exponent, `inf`, `infinity` or `nan`, with or without a sign; nil
  /// for any other text.
  init?(_ text: UnsafeBufferPointer<UInt8>) {
    var at = 0
    let end = text.count
    guard end > 0 else { return nil }
    if text[0] == UInt8(ascii: "-") || text[0] == UInt8(ascii: "+") {
      isNegative = text[0] == UInt8(ascii: "-")
      at = 1
    }
    var hasDigits = false
    while at < end {
      let digit = text[at] &- 0x30
      if digit < 10 {
        hasDigits = true
        if mantissa < 1_000_000_000_000_000_000 {
          mantissa = mantissa &* 10 &+ UInt64(digit)
          if !isWhole { exponent -= 1 }
        } else {
          isCut = isCut || digit != 0
          if isWhole { exponent += 1 }
        }
      } else if text[at] == UInt8(ascii: "."), isWhole {
        isWhole = false
      } else {
        break
      }
      at += 1
    }
    guard hasDigits else {
      guard isWhole, let word = Self.word(text[at...]) else { return nil }
      kind = word
      return
    }
    guard at < end else { return }
    guard text[at] | 0x20 == UInt8(ascii: "e") else { return nil }
    isWhole = false
    at += 1
    var isDown = false
    if at < end, text[at] == UInt8(ascii: "-") || text[at] == UInt8(ascii: "+") {
      isDown = text[at] == UInt8(ascii: "-")
      at += 1
    }
    guard at < end else { return nil }
    var power = 0
    while at < end {
      let digit = text[at] &- 0x30
      guard digit < 10 else { return nil }
      // Beyond this nothing changes any more, whatever the mantissa: no text has so many digits.
      if power < 1 << 50 { power = power * 10 + Int(digit) }
      at += 1
    }
    exponent += isDown ? -power : power
  }

  private static func word(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Kind? {
    func reads(_ word: String) -> Bool { text.lazy.map { $0 | 0x20 }.elementsEqual(word.utf8) }
    return reads("nan") ? .nan : reads("inf") || reads("infinity") ? .infinity : nil
  }

  /// The powers of ten that doubles hold exactly.
  private static let powers: [Double] = (0...22).map { exponent in
    (0..<exponent).reduce(1.0) { power, _ in power * 10 }
  }

  /// The number as a double: off by less than 4 units in the last place, nil where that is not known.
  private var near: Double? {
    guard (-22...22).contains(exponent) else { return nil }
    let value = Double(mantissa)
    return exponent < 0 ? value / Self.powers[-exponent] : value * Self.powers[exponent]
  }

  private func signed<T: BinaryFloatingPoint>(_ value: T) -> T { isNegative ? -value : value }

  private func float<T: BinaryFloatingPoint & LosslessStringConvertible>(
    _ text: UnsafeBufferPointer<UInt8>, fast: Double?, convert: (Double) -> T
  ) throws(Refusal) -> T {
    switch kind {
    case .nan: return .nan
    case .infinity: return signed(.infinity)
    case .finite: break
    }
    if isWhole {
      // Whole numbers of more than 19 digits are beyond all that is counted.
      guard exponent == 0, !isCut, T(exactly: mantissa) != nil else { throw .notExact }
      return signed(T(mantissa))
    }
    if mantissa == 0 { return signed(0) }
    if let fast { return signed(convert(fast)) }
    let value = T(String(decoding: text, as: UTF8.self)) ?? .nan
    guard value.isFinite else { throw .tooLarge }
    return value
  }

  /// The nearest float.
  ///
  /// - `text`: the text that this was read from.
  func float(_ text: UnsafeBufferPointer<UInt8>) throws(Refusal) -> Float {
    var fast = near
    if let value = fast {
      // The lower 29 bits of a double decide how it is rounded; floats below 2^-126 have fewer of the upper
      // ones. Above the largest float comes the one that would be 2^128.
      let middle = Int(value.bitPattern & 0x1fff_ffff) - 0x1000_0000
      if abs(middle) <= 4 || value < 0x1p-126 || value > 0x1.fffffep127 { fast = nil }
    }
    return try float(text, fast: fast) { Float($0) }
  }

  /// The nearest double.
  ///
  /// - `text`: the text that this was read from.
  func double(_ text: UnsafeBufferPointer<UInt8>) throws(Refusal) -> Double {
    let isExact = mantissa <= 1 << 53 && !isCut
    return try float(text, fast: isExact ? near : nil) { $0 }
  }

  /// The whole number.
  func integer() throws(Refusal) -> Int64 {
    guard kind == .finite, isWhole else { throw .notWhole }
    guard exponent == 0, !isCut else { throw .tooLarge }
    if isNegative && mantissa == 1 << 63 { return .min }
    guard let value = Int64(exactly: mantissa) else { throw .tooLarge }
    return isNegative ? -value : value
  }
}

extension Float: CSVElement {
  static var dtype: DType { .f32 }
  static func gap(_ value: Float) -> Float? { value }
  init(_ number: DecimalNumber, _ text: UnsafeBufferPointer<UInt8>) throws(DecimalNumber.Refusal) {
    self = try number.float(text)
  }
}

extension Double: CSVElement {
  static var dtype: DType { .f64 }
  static func gap(_ value: Float) -> Double? { Double(value) }
  init(_ number: DecimalNumber, _ text: UnsafeBufferPointer<UInt8>) throws(DecimalNumber.Refusal) {
    self = try number.double(text)
  }
}

extension Int64: CSVElement {
  static var dtype: DType { .i64 }
  static func gap(_ value: Float) -> Int64? { Int64(exactly: value) }
  init(_ number: DecimalNumber, _ text: UnsafeBufferPointer<UInt8>) throws(DecimalNumber.Refusal) {
    self = try number.integer()
  }
}
