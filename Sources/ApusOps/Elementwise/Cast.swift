// Conversion between element types.

import ApusGraph

/// `y = dtype(x)`: floats to integers truncate towards zero, non-zero is true.
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

  package func evaluate(_ x: [Double]) -> Double {
    switch dtype {
    case .bool: x[0] != 0 ? 1 : 0
    case .i32, .i64, .u8: x[0].rounded(.towardZero)
    default: x[0]
    }
  }
}

extension Tensor {
  /// The tensor with its elements converted to `dtype`; the tensor itself where it has that type.
  public func cast(to dtype: DType, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
    dtype == self.dtype ? self : cast(to: dtype, location: sourceLocation(file, line))
  }

  /// The same for callers that have a place already, or none.
  func cast(to dtype: DType, location: String?) -> Tensor {
    dtype == self.dtype ? self : .apply(Cast(to: dtype), to: self, location: location)
  }
}
