// The stored types by their definition: what the bits of an element mean, and which bits a number
// is rounded to. In double precision and element by element; the kernels' conversions are not used.

import CKernels

extension ck_dtype: @retroactive CustomStringConvertible {
  public var description: String {
    ["f32", "bf16", "f16", "f64", "i32", "i64", "u8", "bool"][Int(rawValue)]
  }

  static let ofLoops = [CK_F32, CK_BF16, CK_F16, CK_I32, CK_I64, CK_U8, CK_BOOL]

  var size: Int { [4, 2, 2, 8, 4, 8, 1, 1][Int(rawValue)] }

  func decode(_ bytes: [UInt8]) -> [Number] {
    bytes.withUnsafeBytes { memory in
      var numbers: [Number] = []
      numbers.reserveCapacity(memory.count / size)
      var index = 0
      while index < memory.count / size {
        numbers.append(decode(memory, at: index))
        index += 1
      }
      return numbers
    }
  }

  func decode(_ memory: UnsafeRawBufferPointer, at index: Int) -> Number {
    func bits<T: BitwiseCopyable>(_: T.Type) -> T {
      memory.loadUnaligned(fromByteOffset: index * size, as: T.self)
    }
    switch self {
    case CK_F32: return .real(Double(bits(Float.self)))
    case CK_BF16: return .real(Double(Float(bitPattern: UInt32(bits(UInt16.self)) << 16)))
    case CK_F16: return .real(Half.value(bits(UInt16.self)))
    case CK_I32: return .whole(Int64(bits(Int32.self)))
    case CK_I64: return .whole(bits(Int64.self))
    case CK_U8: return .whole(Int64(bits(UInt8.self)))
    default: return .whole(bits(UInt8.self) == 0 ? 0 : 1)
    }
  }

  func encode(_ numbers: [Number]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: numbers.count * size)
    bytes.withUnsafeMutableBytes { memory in
      for (index, number) in numbers.enumerated() { encode(number, into: memory, at: index) }
    }
    return bytes
  }

  func encode(_ number: Number, into memory: UnsafeMutableRawBufferPointer, at index: Int) {
    func put(_ bits: some BitwiseCopyable) {
      memory.storeBytes(of: bits, toByteOffset: index * size, as: type(of: bits))
    }
    switch self {
    case CK_F32: put(Float(number.real))
    case CK_BF16: put(BFloat.bits(number.real))
    case CK_F16: put(Half.bits(number.real))
    case CK_I32: put(Int32(truncatingIfNeeded: number.whole))
    case CK_I64: put(number.whole)
    case CK_U8: put(UInt8(truncatingIfNeeded: number.whole))
    default: put(UInt8(number.whole == 0 ? 0 : 1))
    }
  }

  /// What storing the number and loading it again leaves of it.
  func rounded(_ number: Number) -> Number {
    withUnsafeTemporaryAllocation(byteCount: 8, alignment: 8) { memory in
      encode(number, into: memory, at: 0)
      return decode(UnsafeRawBufferPointer(memory), at: 0)
    }
  }
}

/// A binary floating-point format of 16 bits: `value = fraction x 2^exponent`.
private func bits16(
  _ x: Double, fractionBits: Int, leastExponent: Int, greatest: Double
) -> UInt16 {
  let sign: UInt16 = x.sign == .minus ? 0x8000 : 0
  let infinity = UInt16((0x7fff >> fractionBits) << fractionBits)
  if x.isNaN { return sign | infinity | UInt16(1 << (fractionBits - 1)) }
  let magnitude = abs(x)
  if magnitude == 0 { return sign }
  if magnitude.isInfinite { return sign | infinity }
  // The distance of neighbours around x, and x as a multiple of it, ties to even.
  let exponent = max(Int(magnitude.exponent), leastExponent)
  let unit = Double(sign: .plus, exponent: exponent - fractionBits, significand: 1)
  let multiple = (magnitude / unit).rounded(.toNearestOrEven)
  if multiple * unit > greatest { return sign | infinity }
  // Below 2^leastExponent the multiple is the fraction; above it carries into the exponent.
  return sign | UInt16(Int(multiple) + (exponent - leastExponent) << fractionBits)
}

/// IEEE 754 binary16.
enum Half {
  static let greatest = 65504.0

  static func value(_ bits: UInt16) -> Double {
    let sign = bits & 0x8000 == 0 ? 1.0 : -1.0
    let exponent = Int(bits >> 10 & 31), fraction = Double(bits & 0x3ff)
    if exponent == 31 { return fraction == 0 ? sign * .infinity : .nan }
    if exponent == 0 { return sign * fraction * 0x1p-24 }
    return sign * Double(sign: .plus, exponent: exponent - 25, significand: 1024 + fraction)
  }

  static func bits(_ x: Double) -> UInt16 {
    bits16(x, fractionBits: 10, leastExponent: -14, greatest: greatest)
  }
}

/// The upper half of a binary32.
enum BFloat {
  static let greatest = 0x1.fep127

  static func bits(_ x: Double) -> UInt16 {
    bits16(x, fractionBits: 7, leastExponent: -126, greatest: greatest)
  }
}
