// Conversions between element types. There is one rule, that of the kernels' `cast`: folding, the
// interpreter and arrays on the host all follow it.

extension NDArray {
  // MARK: To arrays

  /// The doubles converted to `type`'s element type, as ``cast(to:)`` converts.
  ///
  ///     NDArray(doubles: [1.003906251], type: .bf16(1)).doubles   // [1.0078125], rounded once
  ///
  /// - Precondition: `doubles.count == type.count`, or the program ends and says so; use
  ///   ``init(checking:type:)`` for data that comes from outside.
  public init(
    doubles: [Double], type: TensorType, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: doubles, type: type) } }

  /// Doubles from outside the program, converted as ``init(doubles:type:file:line:)`` does.
  ///
  /// - Throws: `shapeMismatch` where their number is not `type.count`; else as
  ///   ``init(checking:)-(TensorType)``.
  public init(checking doubles: [Double], type: TensorType) throws {
    try NDArray.checkCount(doubles.count, type)
    try self.init(checking: type)
    fill(with: doubles) { $0 }
  }

  /// The integers in `type`'s element type: their low bits, or the nearest float.
  package init(integers: [Int64], type: TensorType) throws {
    try NDArray.checkCount(integers.count, type)
    try self.init(checking: type)
    fill(with: integers) { $0 }
  }

  /// The array converted to another element type, by the rule of the op `cast`:
  ///
  /// - to a float: the nearest, ties to even, rounded once;
  /// - from a float to an integer: truncated towards zero; what `i32` or `i64` cannot hold, NaN too, is its
  ///   least value; `u8` is the low byte of the `i32`;
  /// - from an integer to a shorter one: the low bits;
  /// - to `bool`: whether the element is not 0; a denormal `f32` or `bf16` counts as 0.
  ///
  ///       NDArray([300, -1, .nan, 1e20], shape: [4]).cast(to: .u8)   // 44, 255, 0, 0
  public func cast(to dtype: DType) -> NDArray {
    if dtype == self.dtype { return self }
    let result = NDArray(zeros: type.with(dtype))
    let bytes = storage.bytes
    func elements<T: BitwiseCopyable>(_: T.Type) -> UnsafeMutableBufferPointer<T> {
      bytes.bindMemory(to: T.self)
    }
    // Of denormals arithmetic sees zeros; only a question for 0 can tell.
    let flushes = dtype == .bool
    switch self.dtype {
    case .f32: result.fill(with: elements(Float.self)) { flushes ? withoutDenormals($0) : $0 }
    case .bf16:
      result.fill(with: elements(UInt16.self)) {
        let value = BFloat16.float(bits: $0)
        return flushes ? withoutDenormals(value) : value
      }
    case .f16: result.fill(with: elements(UInt16.self)) { Half.float(bits: $0) }
    case .f64: result.fill(with: elements(Double.self)) { $0 }
    case .i32: result.fill(with: elements(Int32.self)) { Int64($0) }
    case .i64: result.fill(with: elements(Int64.self)) { $0 }
    case .u8: result.fill(with: elements(UInt8.self)) { Int64($0) }
    case .bool: result.fill(with: elements(UInt8.self)) { $0 != 0 ? 1 as Int64 : 0 }
    }
    return result
  }

  /// Writes floats.
  private func fill<C: Collection, F: BinaryFloatingPoint>(
    with source: C, _ read: (C.Element) -> F
  ) {
    switch dtype {
    case .f32: write(source, read) { Float($0) }
    case .bf16: write(source, read) { BFloat16.bits(ofDouble: Double($0)) }
    case .f16: write(source, read) { Half.bits(ofDouble: Double($0)) }
    case .f64: write(source, read) { Double($0) }
    case .i32: write(source, read) { whole(Double($0)) as Int32 }
    case .i64: write(source, read) { whole(Double($0)) as Int64 }
    case .u8: write(source, read) { UInt8(truncatingIfNeeded: whole(Double($0)) as Int32) }
    case .bool: write(source, read) { ($0 != 0 ? 1 : 0) as UInt8 }
    }
  }

  /// Writes integers.
  private func fill<C: Collection>(with source: C, _ read: (C.Element) -> Int64) {
    switch dtype {
    case .f32: write(source, read) { Float($0) }
    // As the kernels do, which have no way but that through f32.
    case .bf16: write(source, read) { BFloat16.bits(of: Float($0)) }
    case .f16: write(source, read) { Half.bits(of: Float($0)) }
    case .f64: write(source, read) { Double($0) }
    case .i32: write(source, read) { Int32(truncatingIfNeeded: $0) }
    case .i64: write(source, read) { $0 }
    case .u8: write(source, read) { UInt8(truncatingIfNeeded: $0) }
    case .bool: write(source, read) { ($0 != 0 ? 1 : 0) as UInt8 }
    }
  }

  /// Writes what `convert` makes of the elements, into storage that is this array's alone.
  private func write<C: Collection, Value, Element: BitwiseCopyable>(
    _ source: C, _ read: (C.Element) -> Value, _ convert: (Value) -> Element
  ) {
    let target = storage.bytes.bindMemory(to: Element.self)
    var index = 0
    for element in source {
      target[index] = convert(read(element))
      index += 1
    }
  }

  // MARK: To Swift's numbers

  /// All elements as doubles, in row-major order. 64-bit integers beyond 2^53 are rounded.
  public var doubles: [Double] {
    func read<T: BitwiseCopyable>(_: T.Type, _ convert: (T) -> Double) -> [Double] {
      storage.bytes.bindMemory(to: T.self).map(convert)
    }
    switch dtype {
    case .f32: return read(Float.self) { Double($0) }
    case .bf16: return read(UInt16.self) { Double(BFloat16.float(bits: $0)) }
    case .f16: return read(UInt16.self) { Double(Half.float(bits: $0)) }
    case .f64: return read(Double.self) { $0 }
    case .i32: return read(Int32.self) { Double($0) }
    case .i64: return read(Int64.self) { Double($0) }
    case .u8, .bool: return read(UInt8.self) { Double($0) }
    }
  }

  /// All elements as `Float`, converted where the array has another type.
  public var floats: [Float] {
    if dtype == .f32 { return Array(storage.bytes.bindMemory(to: Float.self)) }
    return doubles.map { Float($0) }
  }

  /// All elements as 64-bit integers; floats as ``cast(to:)`` converts them.
  public var integers: [Int] {
    switch dtype {
    case .i64: Array(storage.bytes.bindMemory(to: Int.self))
    case .i32: storage.bytes.bindMemory(to: Int32.self).map { Int($0) }
    case .u8, .bool: storage.bytes.map { Int($0) }
    case .f32, .bf16, .f16, .f64: doubles.map { Int(whole($0) as Int64) }
    }
  }

  /// The only element of a one-element array (0 where there is none).
  public var scalar: Double { doubles.first ?? 0 }

  // MARK: Denormals

  /// The array as arithmetic in kernels sees it: denormal `f32` and `bf16` numbers are zeros of their sign.
  /// `f16` has none, since its denormals are normal numbers in `f32`; `f64` has no kernels.
  package var flushed: NDArray {
    guard dtype == .f32 || dtype == .bf16 else { return self }
    var result = self
    func flush<Bits: FixedWidthInteger & UnsignedInteger>(_: Bits.Type, exponent: Bits) {
      func isDenormal(_ bits: Bits) -> Bool {
        bits & exponent == 0 && bits & ~exponent & (Bits.max >> 1) != 0
      }
      let source = storage.bytes.bindMemory(to: Bits.self)
      guard source.contains(where: isDenormal) else { return }
      result.withUnsafeMutableBytes { bytes in
        let target = bytes.bindMemory(to: Bits.self)
        for index in target.indices where isDenormal(target[index]) {
          target[index] &= ~(Bits.max >> 1)
        }
      }
    }
    if dtype == .f32 {
      flush(UInt32.self, exponent: 0x7f80_0000)
    } else {
      flush(UInt16.self, exponent: 0x7f80)
    }
    return result
  }
}

/// A zero of its sign for a denormal number, else the number.
private func withoutDenormals(_ value: Float) -> Float {
  value.magnitude < Float.leastNormalMagnitude ? value.sign == .minus ? -0.0 : 0 : value
}

/// The number truncated towards zero; the least integer where it is none of the type, or NaN: what x86-64's
/// conversions give for both.
private func whole<T: FixedWidthInteger>(_ value: Double) -> T {
  value.isNaN ? .min : T(exactly: value.rounded(.towardZero)) ?? .min
}
