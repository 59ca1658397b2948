// Comparisons with numbers, and operators.
//
// The operators are those of SIMD types (`.<`), for `<` and `==` must give a single Bool.

import ApusGraph

public func equal(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { equal(a, a.scalar(b), file: file, line: line) }

public func equal(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { equal(b.scalar(a), b, file: file, line: line) }

public func notEqual(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { notEqual(a, a.scalar(b), file: file, line: line) }

public func notEqual(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { notEqual(b.scalar(a), b, file: file, line: line) }

public func less(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { less(a, a.scalar(b), file: file, line: line) }

public func less(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { less(b.scalar(a), b, file: file, line: line) }

public func lessOrEqual(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { lessOrEqual(a, a.scalar(b), file: file, line: line) }

public func lessOrEqual(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { lessOrEqual(b.scalar(a), b, file: file, line: line) }

public func greater(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { greater(a, a.scalar(b), file: file, line: line) }

public func greater(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { greater(b.scalar(a), b, file: file, line: line) }

public func greaterOrEqual(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { greaterOrEqual(a, a.scalar(b), file: file, line: line) }

public func greaterOrEqual(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { greaterOrEqual(b.scalar(a), b, file: file, line: line) }

extension Tensor {
  /// Whether `a = b`, element by element.
  public static func .== (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Equal(), to: a, b)
  }
  public static func .== (a: Tensor, b: Double) -> Tensor { a .== a.scalar(b) }
  public static func .== (a: Double, b: Tensor) -> Tensor { b.scalar(a) .== b }
  /// Whether `a ≠ b`, element by element.
  public static func .!= (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(NotEqual(), to: a, b)
  }
  public static func .!= (a: Tensor, b: Double) -> Tensor { a .!= a.scalar(b) }
  public static func .!= (a: Double, b: Tensor) -> Tensor { b.scalar(a) .!= b }
  /// Whether `a < b`, element by element.
  public static func .< (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Less(), to: a, b)
  }
  public static func .< (a: Tensor, b: Double) -> Tensor { a .< a.scalar(b) }
  public static func .< (a: Double, b: Tensor) -> Tensor { b.scalar(a) .< b }
  /// Whether `a ≤ b`, element by element.
  public static func .<= (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(LessOrEqual(), to: a, b)
  }
  public static func .<= (a: Tensor, b: Double) -> Tensor { a .<= a.scalar(b) }
  public static func .<= (a: Double, b: Tensor) -> Tensor { b.scalar(a) .<= b }
  /// Whether `a > b`, element by element.
  public static func .> (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Greater(), to: a, b)
  }
  public static func .> (a: Tensor, b: Double) -> Tensor { a .> a.scalar(b) }
  public static func .> (a: Double, b: Tensor) -> Tensor { b.scalar(a) .> b }
  /// Whether `a ≥ b`, element by element.
  public static func .>= (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(GreaterOrEqual(), to: a, b)
  }
  public static func .>= (a: Tensor, b: Double) -> Tensor { a .>= a.scalar(b) }
  public static func .>= (a: Double, b: Tensor) -> Tensor { b.scalar(a) .>= b }
}
