// Repetition along axes.

import ApusGraph

/// `y = x` repeated along axes of extent 1 and along new leading axes, as NumPy's `broadcast_to`.
package struct Broadcast: ViewOp {
  package static let mnemonic = "broadcast"
  package let shape: Shape

  package init(to shape: Shape) { self.shape = shape }
  package init(attributes: AttributeReader) throws { shape = Shape(try attributes.ints("shape")) }
  package var attributes: [Attribute] { [Attribute("shape", .ints(shape.dimensions))] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    guard shape.dimensions.allSatisfy({ $0 >= 0 }),
      try Shape.broadcast(operands[0].shape, shape) == shape
    else {
      throw ApusError(
        .shapeMismatch, "broadcast: \(operands[0]) does not broadcast to \(shape)",
        expected: "extents that are equal or 1")
    }
    return [operands[0].with(shape)]
  }

  // The reverse walk sums the gradient over the repeated axes.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [context.gradient] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [operands[0].viewed(through: View(dense: operands[0].shape).broadcast(to: shape))]
  }

  package func view(of operand: View) -> View? { operand.broadcast(to: shape) }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.copy(site, through: site.views[0].broadcast(to: shape))
  }
}

extension Tensor {
  /// The tensor repeated to `shape`; the tensor itself where it has that shape.
  public func broadcast(
    to shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    shape == self.shape
      ? self : .apply(Broadcast(to: shape), to: self, location: sourceLocation(file, line))
  }

  /// The gradient of a broadcast: this tensor summed down to `shape`, which broadcasts to its own.
  public func sum(
    to shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    if shape == self.shape { return self }
    let lead = rank - shape.rank
    let axes = (0..<rank).filter { $0 < lead || shape[$0 - lead] == 1 && self.shape[$0] != 1 }
    return sum(axes: axes, keepDims: true, file: file, line: line)
      .reshaped(shape, file: file, line: line)
  }
}
