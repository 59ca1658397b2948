// What kind of number a float is. None of these has a gradient.

import ApusGraph

/// Whether `x` is not a number.
package struct IsNaN: PlainElementwiseOp {
  package static let mnemonic = "is_nan"
  package static let arity = 1
  package static let signature = ElementwiseSignature.predicate

  package init() {}
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
  package func evaluate(_ x: [Double]) -> Double { x[0].isNaN ? 1 : 0 }
}

/// Whether every element is not a number.
public func isNaN(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(IsNaN(), to: x, location: sourceLocation(file, line))
}

/// Whether `x` is plus or minus infinity.
package struct IsInfinite: PlainElementwiseOp {
  package static let mnemonic = "is_inf"
  package static let arity = 1
  package static let signature = ElementwiseSignature.predicate

  package init() {}
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
  package func evaluate(_ x: [Double]) -> Double { x[0].isInfinite ? 1 : 0 }
}

/// Whether every element is plus or minus infinity.
public func isInfinite(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(IsInfinite(), to: x, location: sourceLocation(file, line))
}

/// Whether `x` is neither infinite nor NaN.
package struct IsFinite: PlainElementwiseOp {
  package static let mnemonic = "is_finite"
  package static let arity = 1
  package static let signature = ElementwiseSignature.predicate

  package init() {}
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }
  package func evaluate(_ x: [Double]) -> Double { x[0].isFinite ? 1 : 0 }
}

/// Whether every element is neither infinite nor NaN.
public func isFinite(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  .apply(IsFinite(), to: x, location: sourceLocation(file, line))
}
