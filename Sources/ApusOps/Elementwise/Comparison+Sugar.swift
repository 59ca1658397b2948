// Comparisons with numbers, and operators.
//
// The operators are those of SIMD types (`.<`), for `<` and `==` must give a single Bool.

import ApusGraph

public func equal(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { a.compared(Equal(), with: b, sourceLocation(file, line)) }

public func equal(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { b.compared(Equal.Mirrored(), with: a, sourceLocation(file, line)) }

public func notEqual(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { a.compared(NotEqual(), with: b, sourceLocation(file, line)) }

public func notEqual(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { b.compared(NotEqual.Mirrored(), with: a, sourceLocation(file, line)) }

public func less(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { a.compared(Less(), with: b, sourceLocation(file, line)) }

public func less(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { b.compared(Less.Mirrored(), with: a, sourceLocation(file, line)) }

public func lessOrEqual(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { a.compared(LessOrEqual(), with: b, sourceLocation(file, line)) }

public func lessOrEqual(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { b.compared(LessOrEqual.Mirrored(), with: a, sourceLocation(file, line)) }

public func greater(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { a.compared(Greater(), with: b, sourceLocation(file, line)) }

public func greater(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { b.compared(Greater.Mirrored(), with: a, sourceLocation(file, line)) }

public func greaterOrEqual(
  _ a: Tensor, _ b: Double, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { a.compared(GreaterOrEqual(), with: b, sourceLocation(file, line)) }

public func greaterOrEqual(
  _ a: Double, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { b.compared(GreaterOrEqual.Mirrored(), with: a, sourceLocation(file, line)) }

extension Tensor {
  /// Whether `a = b`, element by element.
  public static func .== (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Equal(), to: a, b)
  }
  public static func .== (a: Tensor, b: Double) -> Tensor { a.compared(Equal(), with: b, nil) }
  public static func .== (a: Double, b: Tensor) -> Tensor {
    b.compared(Equal.Mirrored(), with: a, nil)
  }
  /// Whether `a ≠ b`, element by element.
  public static func .!= (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(NotEqual(), to: a, b)
  }
  public static func .!= (a: Tensor, b: Double) -> Tensor { a.compared(NotEqual(), with: b, nil) }
  public static func .!= (a: Double, b: Tensor) -> Tensor {
    b.compared(NotEqual.Mirrored(), with: a, nil)
  }
  /// Whether `a < b`, element by element.
  public static func .< (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Less(), to: a, b)
  }
  public static func .< (a: Tensor, b: Double) -> Tensor { a.compared(Less(), with: b, nil) }
  public static func .< (a: Double, b: Tensor) -> Tensor {
    b.compared(Less.Mirrored(), with: a, nil)
  }
  /// Whether `a ≤ b`, element by element.
  public static func .<= (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(LessOrEqual(), to: a, b)
  }
  public static func .<= (a: Tensor, b: Double) -> Tensor {
    a.compared(LessOrEqual(), with: b, nil)
  }
  public static func .<= (a: Double, b: Tensor) -> Tensor {
    b.compared(LessOrEqual.Mirrored(), with: a, nil)
  }
  /// Whether `a > b`, element by element.
  public static func .> (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(Greater(), to: a, b)
  }
  public static func .> (a: Tensor, b: Double) -> Tensor { a.compared(Greater(), with: b, nil) }
  public static func .> (a: Double, b: Tensor) -> Tensor {
    b.compared(Greater.Mirrored(), with: a, nil)
  }
  /// Whether `a ≥ b`, element by element.
  public static func .>= (a: Tensor, b: Tensor) -> Tensor {
    let (a, b) = promoted(a, b)
    return .apply(GreaterOrEqual(), to: a, b)
  }
  public static func .>= (a: Tensor, b: Double) -> Tensor {
    a.compared(GreaterOrEqual(), with: b, nil)
  }
  public static func .>= (a: Double, b: Tensor) -> Tensor {
    b.compared(GreaterOrEqual.Mirrored(), with: a, nil)
  }
}
