// What the type checker knows of a value.

/// An element type and a shape, written `f32[64,784]`.
public struct TensorType: Sendable, Hashable, CustomStringConvertible {
  public var dtype: DType
  public var shape: Shape

  public init(_ dtype: DType, _ shape: Shape) {
    self.dtype = dtype
    self.shape = shape
  }

  /// A tensor of 32-bit floats with those extents; none for a scalar.
  public static func f32(_ dimensions: Int...) -> TensorType { .init(.f32, Shape(dimensions)) }
  /// A tensor of bfloat16s with those extents; none for a scalar.
  public static func bf16(_ dimensions: Int...) -> TensorType { .init(.bf16, Shape(dimensions)) }
  /// A tensor of 16-bit floats with those extents; none for a scalar.
  public static func f16(_ dimensions: Int...) -> TensorType { .init(.f16, Shape(dimensions)) }
  /// A tensor of 64-bit floats with those extents; none for a scalar.
  public static func f64(_ dimensions: Int...) -> TensorType { .init(.f64, Shape(dimensions)) }
  /// A tensor of 32-bit integers with those extents; none for a scalar.
  public static func i32(_ dimensions: Int...) -> TensorType { .init(.i32, Shape(dimensions)) }
  /// A tensor of 64-bit integers with those extents; none for a scalar.
  public static func i64(_ dimensions: Int...) -> TensorType { .init(.i64, Shape(dimensions)) }
  /// A tensor of unsigned bytes with those extents; none for a scalar.
  public static func u8(_ dimensions: Int...) -> TensorType { .init(.u8, Shape(dimensions)) }
  /// A tensor of booleans with those extents; none for a scalar.
  public static func bool(_ dimensions: Int...) -> TensorType { .init(.bool, Shape(dimensions)) }

  /// Bytes of a dense tensor of this type.
  public var byteCount: Int { Shape.product(shape.count, dtype.byteCount) }
  public var rank: Int { shape.rank }
  public var count: Int { shape.count }

  /// The most bytes that one array may have: an address space of x86-64 has no more.
  public static let mostBytes = 1 << 47

  /// This type, where arrays of it can exist.
  ///
  ///     try TensorType.f32(1 << 40, 1 << 40).checked("weight")   // more bytes than memory can have
  ///
  /// - `what`: the words that the message begins with, such as an op's name.
  /// - Throws: `invalidArgument` for a negative extent, `resource` for more than ``mostBytes``, extents of 0
  ///   left out.
  public func checked(_ what: @autoclosure () -> String) throws -> TensorType {
    if shape.dimensions.contains(where: { $0 < 0 }) {
      throw ApusError(
        .invalidArgument, "\(what()): \(self) has a negative extent",
        expected: "extents of 0 or more")
    }
    // The other extents of an empty tensor are bounded too, as in NumPy: sizes are worked out of some of them.
    let extents = shape.dimensions.filter { $0 != 0 }
    if extents.reduce(dtype.byteCount, Shape.product) > Self.mostBytes {
      throw ApusError(
        .resource, "\(what()): \(self) has more elements than memory can hold",
        expected: "at most 2^47 bytes")
    }
    return self
  }

  /// The same shape with another element type.
  public func with(_ dtype: DType) -> TensorType { TensorType(dtype, shape) }
  /// The same element type with another shape.
  public func with(_ shape: Shape) -> TensorType { TensorType(dtype, shape) }

  public var description: String { dtype.rawValue + shape.description }
}
