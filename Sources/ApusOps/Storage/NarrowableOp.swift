// What an op says of itself so that its operands and results may be stored as 16-bit floats.
//
// Arithmetic stays f32: a kernel widens such an operand on loading it and rounds such a result on
// storing it, to nearest even, once. Which values of a graph are stored so is `NarrowStorage`'s choice.

import ApusGraph

/// The types of a node's operands, as the op sees them through views, and of its results.
package struct NodeTypes: Sendable, Hashable {
  package var operands: [TensorType]
  package var results: [TensorType]

  package init(operands: [TensorType], results: [TensorType]) {
    self.operands = operands
    self.results = results
  }
}

/// An op whose kernel can read and write 16-bit floats in the place of f32, and loses no time by it.
///
/// `f64` counts as `f32`: it is what tests are written in.
package protocol NarrowableOp: Op {
  /// Whether the kernel can widen that operand on loading it. `node` has the types before anything is
  /// stored narrow.
  func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool
  /// Whether the kernel can round that result on storing it.
  func makesNarrow(result index: Int, of node: NodeTypes) -> Bool
  /// The op that reads operands and gives results of other float types, and else computes the same.
  ///
  /// - `operands`: the operands' element types in memory. They differ from those of `node` only where
  ///   `readsNarrow` allows it.
  /// - `results`: likewise of the results, and `makesNarrow`.
  /// - `node`: the types before anything is stored narrow.
  func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op
}
