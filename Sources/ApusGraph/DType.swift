// The element types of tensors.

/// The type of a tensor's elements.
///
/// Kernels compute in `f32`; `bf16` and `f16` are storage types that are widened on load. `f64` exists
/// for the interpreter and for gradient checks.
public enum DType: String, Sendable, Hashable, CaseIterable, Codable {
  case f32, bf16, f16, f64, i32, i64, u8, bool

  /// Bytes an element takes in memory.
  public var byteCount: Int {
    switch self {
    case .f64, .i64: 8
    case .f32, .i32: 4
    case .bf16, .f16: 2
    case .u8, .bool: 1
    }
  }

  /// Whether the type is a floating-point one, and so has gradients.
  public var isFloat: Bool {
    switch self {
    case .f32, .bf16, .f16, .f64: true
    case .i32, .i64, .u8, .bool: false
    }
  }

  /// Whether the type is an integer one (`bool` is not).
  public var isInteger: Bool { self == .i32 || self == .i64 || self == .u8 }

  /// The whole numbers that an element can be; nil for floats.
  package var integers: ClosedRange<Int64>? {
    switch self {
    case .f32, .bf16, .f16, .f64: nil
    case .i32: Int64(Int32.min)...Int64(Int32.max)
    case .i64: Int64.min...Int64.max
    case .u8: 0...255
    case .bool: 0...1
    }
  }

  /// Whether an element can be that whole number (any, for floats, which round it).
  package func holds(_ value: Int64) -> Bool { integers?.contains(value) ?? true }

  /// Whether an element can be that number: for floats always, for others where it is a whole number of
  /// their range.
  package func holds(_ value: Double) -> Bool {
    isFloat || Int64(exactly: value).map { holds($0) } ?? false
  }

  /// The code of the type in the kernels' argument blocks (`ck_dtype`).
  package var kernelCode: Int32 {
    switch self {
    case .f32: 0
    case .bf16: 1
    case .f16: 2
    case .f64: 3
    case .i32: 4
    case .i64: 5
    case .u8: 6
    case .bool: 7
    }
  }

  /// The type in which values of this type are computed by the interpreter: `f64` for floats.
  package var widened: DType { isFloat ? .f64 : self }

  /// The type in which an operation on elements of types `a` and `b` is carried out: the wider of the
  /// two, a float where either is one; `bf16` with `f16` gives `f32`, as in PyTorch.
  public static func promoted(_ a: DType, _ b: DType) -> DType {
    if a == b { return a }
    let order: [DType] = [.bool, .u8, .i32, .i64, .f16, .bf16, .f32, .f64]
    if Set([a, b]) == Set([.bf16, .f16]) { return .f32 }
    return order.lastIndex(of: a)! > order.lastIndex(of: b)! ? a : b
  }
}
