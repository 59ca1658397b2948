// Concrete tensors: bytes on the host.
//
// Not a place for arithmetic: computing is the work of graphs. Conversions of elements are in
// NDArray+Conversion.swift.

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
  static func checkCount(_ count: Int, _ type: TensorType) throws {
    guard try type.checked("an array").count == count else {
      throw ApusError(
        .shapeMismatch, "\(count) elements do not fill \(type)", expected: "\(type.count) elements")
    }
  }

  /// What `body` makes. Where it throws, the program ends: with the error and the caller's line, in
  /// release too, where `precondition` says nothing.
  static func orTrap(
    _ file: StaticString, _ line: UInt, _ body: () throws -> NDArray
  ) -> NDArray {
    do {
      return try body()
    } catch {
      fatalError("NDArray: \(error)", file: file, line: line)
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
