// Comparisons of two tensors, element by element.

import ApusGraph

/// A comparison. NaN compares as IEEE 754 says: unequal to everything, and neither less nor greater.
public protocol Comparison: PlainElementwiseOp {
  static func holds(_ a: Double, _ b: Double) -> Bool
}

extension Comparison {
  public static var arity: Int { 2 }
  // Bools are equal or not; only numbers are ordered.
  public static var signature: ElementwiseSignature {
    self == Equal.self || self == NotEqual.self ? .comparison : .ordering
  }
  // The result is a bool: nothing flows back.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil, nil] }
  public func evaluate(_ x: [Double]) -> Double { Self.holds(x[0], x[1]) ? 1 : 0 }
}

/// `y = (a == b)`.
public struct Equal: Comparison {
  public static let mnemonic = "eq"
  public init() {}
  public static func holds(_ a: Double, _ b: Double) -> Bool { a == b }
}

/// `y = (a ≠ b)`.
public struct NotEqual: Comparison {
  public static let mnemonic = "ne"
  public init() {}
  public static func holds(_ a: Double, _ b: Double) -> Bool { a != b }
}

/// `y = (a < b)`.
public struct Less: Comparison {
  public static let mnemonic = "lt"
  public init() {}
  public static func holds(_ a: Double, _ b: Double) -> Bool { a < b }
}

/// `y = (a ≤ b)`.
public struct LessOrEqual: Comparison {
  public static let mnemonic = "le"
  public init() {}
  public static func holds(_ a: Double, _ b: Double) -> Bool { a <= b }
}

/// `y = (a > b)`.
public struct Greater: Comparison {
  public static let mnemonic = "gt"
  public init() {}
  public static func holds(_ a: Double, _ b: Double) -> Bool { a > b }
}

/// `y = (a ≥ b)`.
public struct GreaterOrEqual: Comparison {
  public static let mnemonic = "ge"
  public init() {}
  public static func holds(_ a: Double, _ b: Double) -> Bool { a >= b }
}

private func compare(
  _ op: some Comparison, _ a: Tensor, _ b: Tensor, _ file: StaticString, _ line: UInt
) -> Tensor {
  let (a, b) = Tensor.promoted(a, b, file, line)
  return .apply(op, to: a, b, location: sourceLocation(file, line))
}

/// Where `a` equals `b`: bool of the broadcast shape.
public func equal(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { compare(Equal(), a, b, file, line) }

/// Where `a` differs from `b`.
public func notEqual(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { compare(NotEqual(), a, b, file, line) }

/// Where `a` is less than `b`.
public func less(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { compare(Less(), a, b, file, line) }

/// Where `a` is at most `b`.
public func lessOrEqual(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { compare(LessOrEqual(), a, b, file, line) }

/// Where `a` is greater than `b`.
public func greater(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { compare(Greater(), a, b, file, line) }

/// Where `a` is at least `b`.
public func greaterOrEqual(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor { compare(GreaterOrEqual(), a, b, file, line) }
