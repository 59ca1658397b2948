// The k greatest or least elements.

import ApusGraph

/// The `k` greatest (least) elements along `axis` in order, and the indices they came from (`i64`).
///
/// Of equals the first come first; NaN is greater than all numbers, as for ``Sort``.
package struct TopK: Op {
  package static let mnemonic = "top_k"
  package let k: Int
  /// From 0.
  package let axis: Int
  package let isLargest: Bool

  package init(_ k: Int, axis: Int, isLargest: Bool = true) {
    self.k = k
    self.axis = axis
    self.isLargest = isLargest
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try attributes.int("k"), axis: try attributes.int("axis"),
      isLargest: try attributes.bool("largest"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("k", .int(k)), Attribute("axis", .int(axis)),
      Attribute("largest", .bool(isLargest)),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    try expectSortable(operands[0], axis)
    guard (0...operands[0].shape[axis]).contains(k) else {
      throw ApusError(
        .invalidArgument, "top_k: \(operands[0]) has no \(k) elements along axis \(axis)",
        expected: "k in 0...\(operands[0].shape[axis])")
    }
    let values = operands[0].with(operands[0].shape.replacing(axis, with: k))
    return [values, values.with(.i64)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    sortGradient(context, axis)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    sortReference(operands[0], axis, isDescending: isLargest, results)
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try sortCall(site, axis: axis, k: k, isDescending: isLargest, values: 0, indices: 1)
  }
}

extension Tensor {
  /// The `k` greatest elements along `axis`, greatest first (the least where `isLargest` is false), and
  /// the indices they came from. NaN is greater than all numbers: `topK(1)` finds what `argmax` finds.
  ///
  ///     let (scores, classes) = logits.topK(5)   // f32[64,1000] → f32[64,5], i64[64,5]
  public func topK(
    _ k: Int, axis: Int = -1, isLargest: Bool = true, file: StaticString = #fileID,
    line: UInt = #line
  ) -> (values: Tensor, indices: Tensor) {
    sortResults(axis, file, line) { TopK(k, axis: $0, isLargest: isLargest) }
  }
}
