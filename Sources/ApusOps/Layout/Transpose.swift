// The axes in another order.

import ApusGraph

/// `y` is `x` with its axes reordered: axis `i` of `y` is axis `permutation[i]` of `x`.
package struct Transpose: ViewOp {
  package static let mnemonic = "transpose"
  package let permutation: [Int]

  package init(_ permutation: [Int]) { self.permutation = permutation }
  package init(attributes: AttributeReader) throws {
    permutation = try attributes.ints("permutation")
  }
  package var attributes: [Attribute] { [Attribute("permutation", .ints(permutation))] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let rank = operands[0].rank
    guard permutation.sorted() == Array(0..<rank) else {
      throw ApusError(
        .invalidArgument, "transpose: \(permutation) does not reorder the axes of \(operands[0])",
        expected: "each of \(Array(0..<rank)) once")
    }
    return [operands[0].with(Shape(permutation.map { operands[0].shape[$0] }))]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    var inverse = permutation
    for (to, from) in permutation.enumerated() { inverse[from] = to }
    return [context.gradient.transposed(inverse)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [operands[0].viewed(through: View(dense: operands[0].shape).transposed(permutation))]
  }

  package func view(of operand: View) -> View? { operand.transposed(permutation) }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.copy(site, through: site.views[0].transposed(permutation))
  }
}

extension Tensor {
  /// The axes reordered: axis `i` of the result is axis `permutation[i]` of this. Negative axes count
  /// from the end.
  ///
  ///     x.transposed([0, 2, 1])   // f32[8,3,5] → f32[8,5,3]
  public func transposed(
    _ permutation: [Int], file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let order = permutation.map { $0 < 0 ? $0 + rank : $0 }
    if order == Array(0..<rank) { return self }
    return .apply(Transpose(order), to: self, location: sourceLocation(file, line))
  }

  /// All axes in reverse order: NumPy's `x.T`.
  public func transposed(file: StaticString = #fileID, line: UInt = #line) -> Tensor {
    transposed((0..<rank).reversed(), file: file, line: line)
  }

  /// Two axes exchanged: NumPy's `swapaxes`.
  public func swappingAxes(
    _ a: Int, _ b: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let (a, b) = (try shape.normalized(axis: a), try shape.normalized(axis: b))
      var order = Array(0..<rank)
      order.swapAt(a, b)
      return transposed(order, file: file, line: line)
    }
  }

  /// One axis moved to another place, the others in their order: NumPy's `moveaxis`.
  public func movingAxis(
    _ from: Int, to: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let (from, to) = (try shape.normalized(axis: from), try shape.normalized(axis: to))
      var order = (0..<rank).filter { $0 != from }
      order.insert(from, at: to)
      return transposed(order, file: file, line: line)
    }
  }
}
