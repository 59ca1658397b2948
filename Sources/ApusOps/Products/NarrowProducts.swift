// Matrix products with 16-bit operands and results.
//
// A product of few rows or one column reads and makes none: it packs bf16, which that little work does
// not repay, where f32 would be read as it lies.

import ApusGraph

extension MatMul: NarrowableOp {
  /// From so many rows on a product of bf16 takes less time than one of f32.
  private static let fewestRows = 4

  /// The rows of each matrix, all of them where one right operand serves all.
  private static func rows(_ node: NodeTypes) -> Int {
    let (shape, right) = (node.results[0].shape, node.operands[1].shape)
    let isShared = right.count == right[-2] * right[-1]
    return isShared ? shape.count / max(shape[-1], 1) : shape[-2]
  }

  /// A right operand of few columns or rows is read often enough, but for a vector's product.
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    index == 0
      ? makesNarrow(result: 0, of: node)
      : Self.rows(node) > 1 && node.results[0].shape[-1] > 1
  }

  /// Whether the product has work enough to make a rounded result, or to read its left operand as such.
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    Self.rows(node) >= Self.fewestRows && node.results[0].shape[-1] > 1
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    giving(results[0])
  }

  package func giving(_ type: DType?) -> MatMul {
    MatMul(transposeA: transposeA, transposeB: transposeB, result: type)
  }
}

extension Fused: NarrowableOp {
  /// What the epilogue repeats, a bias, is small, and stays as it is.
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    index < 2
      ? producer.readsNarrow(operand: index, of: node)
      : node.operands[index].count == node.results[0].count
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    producer.makesNarrow(result: index, of: node)
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    let types = node.operands.map(\.dtype)
    let isMixed = operands.prefix(2) != types.prefix(2)
    let epilogue = NodeTypes(
      operands: Array(node.operands.dropFirst(2)), results: node.results)
    return Fused(
      isMixed ? producer.giving(producer.result ?? types[0]) : producer,
      program: program.storing(
        operands: Array(operands.dropFirst(2)), results: results, of: epilogue, offset: 1))
  }
}
