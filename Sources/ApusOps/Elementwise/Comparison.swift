// Comparisons of two tensors, element by element.

import ApusGraph

/// A comparison. NaN compares as IEEE 754 says: unequal to everything, and neither less nor greater.
package protocol Comparison: PlainElementwiseOp, IntegerElementwiseOp {
  /// The comparison with its operands exchanged.
  associatedtype Mirrored: Comparison
  static func holds<T: Comparable>(_ a: T, _ b: T) -> Bool
}

extension Comparison {
  package static var arity: Int { 2 }
  // Bools are equal or not; only numbers are ordered.
  package static var signature: ElementwiseSignature {
    self == Equal.self || self == NotEqual.self ? .comparison : .ordering
  }
  // The result is a bool: nothing flows back.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil, nil] }
  package func evaluate(_ x: [Double]) -> Double { Self.holds(x[0], x[1]) ? 1 : 0 }
  package func evaluate(_ x: [Int64]) -> Int64 { Self.holds(x[0], x[1]) ? 1 : 0 }
}

/// `y = (a == b)`.
package struct Equal: Comparison {
  package typealias Mirrored = Equal
  package static let mnemonic = "eq"
  package init() {}
  package static func holds<T: Comparable>(_ a: T, _ b: T) -> Bool { a == b }
}

/// `y = (a ≠ b)`.
package struct NotEqual: Comparison {
  package typealias Mirrored = NotEqual
  package static let mnemonic = "ne"
  package init() {}
  package static func holds<T: Comparable>(_ a: T, _ b: T) -> Bool { a != b }
}

/// `y = (a < b)`.
package struct Less: Comparison {
  package typealias Mirrored = Greater
  package static let mnemonic = "lt"
  package init() {}
  package static func holds<T: Comparable>(_ a: T, _ b: T) -> Bool { a < b }
}

/// `y = (a ≤ b)`.
package struct LessOrEqual: Comparison {
  package typealias Mirrored = GreaterOrEqual
  package static let mnemonic = "le"
  package init() {}
  package static func holds<T: Comparable>(_ a: T, _ b: T) -> Bool { a <= b }
}

/// `y = (a > b)`.
package struct Greater: Comparison {
  package typealias Mirrored = Less
  package static let mnemonic = "gt"
  package init() {}
  package static func holds<T: Comparable>(_ a: T, _ b: T) -> Bool { a > b }
}

/// `y = (a ≥ b)`.
package struct GreaterOrEqual: Comparison {
  package typealias Mirrored = LessOrEqual
  package static let mnemonic = "ge"
  package init() {}
  package static func holds<T: Comparable>(_ a: T, _ b: T) -> Bool { a >= b }
}

func compare(
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
