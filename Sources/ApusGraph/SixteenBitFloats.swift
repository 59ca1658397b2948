// The two 16-bit floats: their bits from wider numbers, and back.

/// Conversions of the 16-bit brain float: the upper half of a `Float`.
package enum BFloat16 {
  /// Rounded to nearest in one step, ties to even.
  ///
  ///     BFloat16.bits(ofDouble: 1.003906251)   // 1.0078125; by way of a Float it would be 1.0
  package static func bits(ofDouble value: Double) -> UInt16 { bits(of: roundedToOdd(value)) }
  /// Rounded to nearest, ties to even; NaN stays NaN.
  package static func bits(of value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
  }
  /// The value of those bits, exactly.
  package static func float(bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }
}

/// Conversions of IEEE 754 binary16, written out because `Float16` is missing on some platforms.
package enum Half {
  /// Rounded to nearest in one step, ties to even; overflow gives infinity.
  package static func bits(ofDouble value: Double) -> UInt16 { bits(of: roundedToOdd(value)) }
  /// Rounded to nearest, ties to even; overflow gives infinity.
  package static func bits(of value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = bits & 0x7fff_ffff
    if magnitude > 0x7f80_0000 { return sign | 0x7e00 }
    if magnitude >= 0x4780_0000 { return sign | 0x7c00 }
    if magnitude < 0x3880_0000 {
      // Subnormal: adding 0.5 aligns the wanted bits at the bottom and rounds them as IEEE does.
      let shifted = Float(bitPattern: magnitude) + 0.5
      return sign | UInt16(truncatingIfNeeded: shifted.bitPattern &- 0x3f00_0000)
    }
    let rounded = magnitude &+ 0xfff &+ (magnitude >> 13 & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded &- 0x3800_0000) >> 13)
  }

  /// The value of those bits, exactly.
  package static func float(bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10 & 0x1f), fraction = UInt32(bits & 0x3ff)
    if exponent == 31 { return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13) }
    if exponent == 0 {
      let magnitude = Float(fraction) * 0x1p-24
      return Float(bitPattern: magnitude.bitPattern | sign)
    }
    return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
  }
}

/// The double as a `Float` that further rounding sees as it would see the double: cut off, its last bit set
/// where something was cut off (Boldo & Melquiond 2008, "Emulation of FMA and correctly rounded sums").
private func roundedToOdd(_ value: Double) -> Float {
  let nearest = Float(value)
  guard Double(nearest) != value, !value.isNaN else { return nearest }
  let isBeyond = nearest.magnitude.isInfinite || Double(nearest.magnitude) > value.magnitude
  let bits = nearest.bitPattern & 0x7fff_ffff
  let cut = isBeyond ? bits - 1 : bits
  return Float(bitPattern: nearest.bitPattern & 0x8000_0000 | cut | 1)
}
