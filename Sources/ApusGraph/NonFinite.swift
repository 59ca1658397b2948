// NaNs and infinities among the bytes of arrays: the one place that knows how floats spell them.

/// What of some floats are no finite numbers.
package struct NonFinite: OptionSet, Sendable {
  package let rawValue: Int
  package static let nan = NonFinite(rawValue: 1)
  package static let infinity = NonFinite(rawValue: 2)

  package init(rawValue: Int) { self.rawValue = rawValue }

  /// Looks at elements of a type, one after the other, aligned or not. Types without such numbers hold none.
  ///
  /// - `stopsAtFirst`: whether the first finding is enough.
  package init(in bytes: UnsafeRawBufferPointer, of dtype: DType, stopsAtFirst: Bool = false) {
    func scan<Bits: FixedWidthInteger & UnsignedInteger>(_: Bits.Type, exponent: Bits) -> NonFinite
    {
      let size = MemoryLayout<Bits>.size
      var found: NonFinite = []
      for index in 0..<bytes.count / size {
        let bits = bytes.loadUnaligned(fromByteOffset: index * size, as: Bits.self)
        guard bits & exponent == exponent else { continue }
        let fraction = bits & ~exponent & (Bits.max >> 1)
        found.insert(fraction == 0 ? .infinity : .nan)
        if stopsAtFirst { break }
      }
      return found
    }
    // All bits of the exponent set: an infinity where the fraction is 0, else a NaN (IEEE 754, 3.4).
    switch dtype {
    case .f32: self = scan(UInt32.self, exponent: 0x7f80_0000)
    case .f64: self = scan(UInt64.self, exponent: 0x7ff0_0000_0000_0000)
    case .bf16: self = scan(UInt16.self, exponent: 0x7f80)
    case .f16: self = scan(UInt16.self, exponent: 0x7c00)
    case .i32, .i64, .u8, .bool: self = []
    }
  }
}

extension NDArray {
  /// Whether no element is a NaN or an infinity.
  package var isFinite: Bool {
    withUnsafeBytes { NonFinite(in: $0, of: dtype, stopsAtFirst: true).isEmpty }
  }
}
