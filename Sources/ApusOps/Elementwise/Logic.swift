// Logic on bools. None has a gradient.

import ApusGraph

/// `y = a ∧ b`, broadcasting.
package struct And: PlainElementwiseOp {
  package static let mnemonic = "and"
  package static let arity = 2
  package static let signature = ElementwiseSignature.logical

  package init() {}
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil, nil] }
  package func evaluate(_ x: [Double]) -> Double { x[0] != 0 && x[1] != 0 ? 1 : 0 }
}

/// `y = a ∨ b`, broadcasting.
package struct Or: PlainElementwiseOp {
  package static let mnemonic = "or"
  package static let arity = 2
  package static let signature = ElementwiseSignature.logical

  package init() {}
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil, nil] }
  package func evaluate(_ x: [Double]) -> Double { x[0] != 0 || x[1] != 0 ? 1 : 0 }
}

/// `y = a ⊕ b`, broadcasting.
package struct Xor: PlainElementwiseOp {
  package static let mnemonic = "xor"
  package static let arity = 2
  package static let signature = ElementwiseSignature.logical

  package init() {}
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil, nil] }
  package func evaluate(_ x: [Double]) -> Double { (x[0] != 0) != (x[1] != 0) ? 1 : 0 }
}

/// `y = ¬a`.
package struct Not: PlainElementwiseOp {
  package static let mnemonic = "not"
  package static let arity = 1
  package static let signature = ElementwiseSignature.logical

  package init() {}
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
  package func evaluate(_ x: [Double]) -> Double { x[0] != 0 ? 0 : 1 }
}

/// Whether both hold, element by element.
public func logicalAnd(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(And(), to: a, b, location: sourceLocation(file, line))
}

/// Whether one or both hold, element by element.
public func logicalOr(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(Or(), to: a, b, location: sourceLocation(file, line))
}

/// Whether exactly one holds, element by element.
public func logicalXor(
  _ a: Tensor, _ b: Tensor, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  .apply(Xor(), to: a, b, location: sourceLocation(file, line))
}

/// Whether it does not hold, element by element.
public func logicalNot(_ a: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(Not(), to: a, location: sourceLocation(file, line))
}

extension Tensor {
  /// Whether both hold, element by element.
  public static func .& (a: Tensor, b: Tensor) -> Tensor { .apply(And(), to: a, b) }
  /// Whether one or both hold, element by element.
  public static func .| (a: Tensor, b: Tensor) -> Tensor { .apply(Or(), to: a, b) }
  /// Whether exactly one holds, element by element.
  public static func .^ (a: Tensor, b: Tensor) -> Tensor { .apply(Xor(), to: a, b) }
  /// Whether it does not hold, element by element.
  public static prefix func .! (a: Tensor) -> Tensor { .apply(Not(), to: a) }
}
