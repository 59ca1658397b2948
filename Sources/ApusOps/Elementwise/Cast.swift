// Conversion between element types.

import ApusGraph

/// `y = dtype(x)`, by the rule of `NDArray.cast(to:)`.
package struct Cast: ElementwiseOp {
  package static let mnemonic = "cast"
  package static let arity = 1
  package static let signature = ElementwiseSignature.comparison
  package let dtype: DType

  package init(to dtype: DType) { self.dtype = dtype }
  package init(attributes: AttributeReader) throws { dtype = try attributes.dtype("to") }
  package var attributes: [Attribute] { [Attribute("to", .dtype(dtype))] }
  package var immediates: [Double] { [] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    return [operands[0].with(dtype)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let from = context.operands[0].dtype
    guard from.isFloat && dtype.isFloat else { return [nil] }
    return [context.gradient.cast(to: from)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    // Integers are rounded to the op's own type, and that is widened where the interpreter asks for it.
    if !operands[0].dtype.isFloat {
      return [operands[0].cast(to: dtype).cast(to: results[0].dtype)]
    }
    return [operands[0].cast(to: results[0].dtype)]
  }

  package func evaluate(_ x: [Double]) -> Double {
    NDArray(doubles: x, type: TensorType(dtype.widened, [1])).doubles[0]
  }
}

extension Tensor {
  /// The tensor with its elements converted to `dtype`; the tensor itself where it has that type.
  ///
  /// Floats are rounded to the nearest; a float becomes an integer by truncation, and the least integer
  /// where `i32` or `i64` cannot hold it; a shorter integer keeps the low bits; what is not 0 is true.
  ///
  ///     x.cast(to: .u8)   // f32 [300, -1, 2.9] → [44, 255, 2]
  public func cast(to dtype: DType, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
    dtype == self.dtype ? self : cast(to: dtype, location: sourceLocation(file, line))
  }

  /// The same for callers that have a place already, or none.
  func cast(to dtype: DType, location: String?) -> Tensor {
    dtype == self.dtype ? self : .apply(Cast(to: dtype), to: self, location: location)
  }
}
