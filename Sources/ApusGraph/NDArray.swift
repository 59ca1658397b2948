// Concrete tensors: bytes on the host.
//
// Not a place for arithmetic: computing is the work of graphs.

/// A dense row-major array on the host. A value: copies share their storage until one is written.
///
///     let x = NDArray([1, 2, 3, 4, 5, 6], shape: [2, 3])   // f32[2,3]
///     x.floats                                            // [1, 2, 3, 4, 5, 6]
public struct NDArray: Sendable, Hashable, CustomStringConvertible {
  public let type: TensorType
  var storage: ArrayStorage

  public var shape: Shape { type.shape }
  public var dtype: DType { type.dtype }
  public var count: Int { type.count }

  /// Zeros of the given type.
  ///
  /// - Precondition: no extent is negative, and there is memory for the array; use ``init(checking:)``
  ///   for a type that comes from outside.
  public init(zeros type: TensorType, file: StaticString = #fileID, line: UInt = #line) {
    self = NDArray.orTrap(file, line) { try NDArray(checking: type) }
  }

  /// Zeros of a type that comes from outside the program: a file, a setting.
  ///
  /// - Throws: `invalidArgument` for a negative extent, `resource` where the machine has not that much
  ///   memory.
  public init(checking type: TensorType) throws {
    self.type = try type.checked("an array")
    storage = try ArrayStorage(byteCount: type.byteCount, for: type)
  }

  /// An array whose bytes `body` writes. The memory handed to it is zeroed.
  ///
  /// - Precondition: as ``init(zeros:file:line:)``.
  public init(
    _ type: TensorType, file: StaticString = #fileID, line: UInt = #line,
    initializingWith body: (UnsafeMutableRawBufferPointer) throws -> Void
  ) rethrows {
    self.init(zeros: type, file: file, line: line)
    try body(storage.bytes)
  }

  /// `f32` elements in row-major order. Literals are `f32`, whole numbers too: the integer initialisers
  /// are disfavoured.
  ///
  ///     NDArray([0, 1, 2], shape: [3])            // f32[3]
  ///     NDArray([0, 1, 2] as [Int32], shape: [3])   // i32[3]
  ///
  /// - Precondition: `shape.count == scalars.count`, or the program ends and says so; use
  ///   ``init(checking:shape:)-([Float],_)`` for data that comes from outside.
  public init(
    _ scalars: [Float], shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: scalars, shape: shape) } }
  /// `i32` elements.
  @_disfavoredOverload
  public init(
    _ scalars: [Int32], shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: scalars, shape: shape) } }
  /// `i64` elements.
  @_disfavoredOverload
  public init(
    _ scalars: [Int64], shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: scalars, shape: shape) } }
  /// `i64` elements, from Swift's own integers.
  ///
  ///     NDArray(Array(0..<4), shape: [2, 2])   // i64[2,2]
  @_disfavoredOverload
  public init(
    _ scalars: [Int], shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: scalars, shape: shape) } }
  /// `u8` elements.
  @_disfavoredOverload
  public init(
    _ scalars: [UInt8], shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: scalars, shape: shape) } }
  /// `bool` elements.
  public init(
    _ scalars: [Bool], shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: scalars, shape: shape) } }
  /// A scalar of type `f32`.
  public init(_ scalar: Float) { self.init([scalar], shape: []) }

  /// `f32` elements from outside the program.
  ///
  /// - Throws: `shapeMismatch` where the number of scalars is not `shape.count`; else as
  ///   ``init(checking:)``.
  public init(checking scalars: [Float], shape: Shape) throws {
    try self.init(checking: scalars, .f32, shape)
  }
  /// `i32` elements from outside the program.
  @_disfavoredOverload
  public init(checking scalars: [Int32], shape: Shape) throws {
    try self.init(checking: scalars, .i32, shape)
  }
  /// `i64` elements from outside the program.
  @_disfavoredOverload
  public init(checking scalars: [Int64], shape: Shape) throws {
    try self.init(checking: scalars, .i64, shape)
  }
  /// `i64` elements from outside the program, from Swift's own integers.
  @_disfavoredOverload
  public init(checking scalars: [Int], shape: Shape) throws {
    try self.init(checking: scalars, .i64, shape)
  }
  /// `u8` elements from outside the program.
  @_disfavoredOverload
  public init(checking scalars: [UInt8], shape: Shape) throws {
    try self.init(checking: scalars, .u8, shape)
  }
  /// `bool` elements from outside the program.
  public init(checking scalars: [Bool], shape: Shape) throws {
    try self.init(checking: scalars.map { $0 ? 1 : 0 } as [UInt8], .bool, shape)
  }

  private init<T: BitwiseCopyable>(checking scalars: [T], _ dtype: DType, _ shape: Shape) throws {
    let type = TensorType(dtype, shape)
    try NDArray.checkCount(scalars.count, type)
    try self.init(checking: type)
    scalars.withUnsafeBytes { storage.bytes.copyMemory(from: $0) }
  }

  /// - Throws: `shapeMismatch` where so many elements do not fill the type.
  private static func checkCount(_ count: Int, _ type: TensorType) throws {
    guard try type.checked("an array").count == count else {
      throw ApusError(
        .shapeMismatch, "\(count) elements do not fill \(type)", expected: "\(type.count) elements")
    }
  }

  /// What `body` makes. Where it throws, the program ends: with the error and the caller's line, in
  /// release too, where `precondition` says nothing.
  private static func orTrap(
    _ file: StaticString, _ line: UInt, _ body: () throws -> NDArray
  ) -> NDArray {
    do {
      return try body()
    } catch {
      fatalError("NDArray: \(error)", file: file, line: line)
    }
  }

  /// The doubles rounded to `type`'s element type: to nearest even for floats, truncated towards zero
  /// and saturated for integers, non-zero is true for `bool`.
  ///
  /// - Precondition: `doubles.count == type.count`, or the program ends and says so; use
  ///   ``init(checking:type:)`` for data that comes from outside.
  public init(
    doubles: [Double], type: TensorType, file: StaticString = #fileID, line: UInt = #line
  ) { self = NDArray.orTrap(file, line) { try NDArray(checking: doubles, type: type) } }

  /// Doubles from outside the program, rounded to `type`'s element type as ``init(doubles:type:file:line:)``
  /// does.
  ///
  /// - Throws: `shapeMismatch` where their number is not `type.count`; else as ``init(checking:)``.
  public init(checking doubles: [Double], type: TensorType) throws {
    try NDArray.checkCount(doubles.count, type)
    try self.init(checking: type)
    let bytes = storage.bytes
    func fill<T: BitwiseCopyable>(_: T.Type, _ convert: (Double) -> T) {
      let target = bytes.bindMemory(to: T.self)
      for index in doubles.indices { target[index] = convert(doubles[index]) }
    }
    switch type.dtype {
    case .f32: fill(Float.self) { Float($0) }
    case .bf16: fill(UInt16.self) { BFloat16.bits(of: Float($0)) }
    case .f16: fill(UInt16.self) { Half.bits(of: Float($0)) }
    case .f64: fill(Double.self) { $0 }
    case .i32: fill(Int32.self) { saturated($0) }
    case .i64: fill(Int64.self) { saturated($0) }
    case .u8: fill(UInt8.self) { saturated($0) }
    case .bool: fill(UInt8.self) { $0 != 0 ? 1 : 0 }
    }
  }

  /// The first element of an array, for every element of a new one.
  ///
  ///     try NDArray(repeating: NDArray(0.5), shape: [2, 3])   // f32[2,3]
  ///
  /// - Throws: `missing` where the array is empty; else as ``init(checking:)``.
  public init(repeating element: NDArray, shape: Shape) throws {
    guard element.count > 0 else {
      throw ApusError(
        .missing, "\(element.type) has no element to repeat", expected: "an array of one element")
    }
    try self.init(checking: element.type.with(shape))
    let size = dtype.byteCount
    for start in stride(from: 0, to: storage.bytes.count, by: size) {
      (storage.bytes.baseAddress! + start)
        .copyMemory(from: element.storage.bytes.baseAddress!, byteCount: size)
    }
  }

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

  /// All elements as 64-bit integers, floats truncated.
  public var integers: [Int] {
    switch dtype {
    case .i64: return Array(storage.bytes.bindMemory(to: Int.self))
    default: return doubles.map { Int(saturated($0) as Int64) }
    }
  }

  /// The only element of a one-element array (0 where there is none).
  public var scalar: Double { doubles.first ?? 0 }

  /// Reads the bytes, row-major and dense.
  public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try body(UnsafeRawBufferPointer(storage.bytes))
  }

  /// Writes the bytes, copying them first where they are shared.
  public mutating func withUnsafeMutableBytes<R>(
    _ body: (UnsafeMutableRawBufferPointer) throws -> R
  ) rethrows -> R {
    if !isKnownUniquelyReferenced(&storage) { storage = ArrayStorage(copying: storage) }
    return try body(storage.bytes)
  }

  /// The same elements under another shape of equal count; one extent may be -1 and is worked out.
  ///
  ///     try images.reshaped([-1, 784])   // u8[64,28,28] → u8[64,784]
  ///
  /// - Throws: `shapeMismatch` where the counts differ.
  public func reshaped(_ shape: Shape) throws -> NDArray {
    let shape = shape.completed(for: count)
    guard shape.count == count, !shape.dimensions.contains(where: { $0 < 0 }) else {
      throw ApusError(
        .shapeMismatch, "\(type) cannot be reshaped to \(shape)", expected: "\(count) elements")
    }
    return NDArray(type: type.with(shape), storage: storage)
  }

  /// The array converted to another element type, as the initialiser from doubles converts.
  public func cast(to dtype: DType) -> NDArray {
    if dtype == self.dtype { return self }
    guard self.dtype == .f32, dtype.isFloat else {
      return NDArray(doubles: doubles, type: type.with(dtype))
    }
    // Parameters are drawn as f32: without an array of doubles in between.
    return NDArray(type.with(dtype)) { bytes in
      let source = storage.bytes.bindMemory(to: Float.self)
      func fill<T: BitwiseCopyable>(_: T.Type, _ convert: (Float) -> T) {
        let target = bytes.bindMemory(to: T.self)
        for index in target.indices { target[index] = convert(source[index]) }
      }
      switch dtype {
      case .bf16: fill(UInt16.self) { BFloat16.bits(of: $0) }
      case .f16: fill(UInt16.self) { Half.bits(of: $0) }
      default: fill(Double.self) { Double($0) }
      }
    }
  }

  init(type: TensorType, storage: ArrayStorage) {
    self.type = type
    self.storage = storage
  }

  /// Equal where the types and all bytes are equal (so a NaN equals itself, and -0 is not 0).
  public static func == (a: NDArray, b: NDArray) -> Bool {
    a.type == b.type && (a.storage === b.storage || a.storage.bytes.elementsEqual(b.storage.bytes))
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(type)
    hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: storage.bytes.prefix(256)))
  }
}

func saturated<T: FixedWidthInteger>(_ value: Double) -> T {
  if value.isNaN { return 0 }
  if let exact = T(exactly: value.rounded(.towardZero)) { return exact }
  return value < 0 ? T.min : T.max
}

/// Conversions of the 16-bit brain float: the upper half of a `Float`.
package enum BFloat16 {
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
