// The same elements under another shape.

import ApusGraph

/// `y = x` with the elements, in row-major order, under another shape.
package struct Reshape: ViewOp {
  package static let mnemonic = "reshape"
  package let shape: Shape

  package init(_ shape: Shape) { self.shape = shape }
  package init(attributes: AttributeReader) throws { shape = Shape(try attributes.ints("shape")) }
  package var attributes: [Attribute] { [Attribute("shape", .ints(shape.dimensions))] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    guard operands[0].count == shape.count, shape.dimensions.allSatisfy({ $0 >= 0 }) else {
      throw ApusError(
        .shapeMismatch, "reshape: \(operands[0]) cannot become \(shape)",
        expected: "a shape of \(operands[0].count) elements")
    }
    return [operands[0].with(shape)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [context.gradient.reshaped(context.operands[0].shape)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [try operands[0].reshaped(shape)]
  }

  package func view(of operand: View) -> View? { operand.reshaped(shape) }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.copy(site, through: site.views[0])
  }
}

extension Tensor {
  /// The same elements under `shape`; one extent may be -1 and is worked out.
  ///
  ///     x.reshaped([64, -1])   // f32[64,28,28] → f32[64,784]
  public func reshaped(
    _ shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let shape = shape.completed(for: type.count)
    if shape == self.shape { return self }
    return .apply(Reshape(shape), to: self, location: sourceLocation(file, line))
  }

  /// All axes from `axis` on joined into one: `f32[64,28,28]` from 1 is `f32[64,784]`.
  public func flattened(
    from axis: Int = 0, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let first = axis < 0 ? Swift.max(axis + rank, 0) : Swift.min(axis, rank)
    let kept = shape.dimensions.prefix(first)
    let joined = shape.dimensions.dropFirst(first).reduce(1, Shape.product)
    return reshaped(Shape(Array(kept) + [joined]), file: file, line: line)
  }
}
