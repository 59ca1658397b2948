// What the cross-entropy ops say of the types they read and write.

import ApusGraph
import CKernels

/// A cross-entropy, its gradient, or both: rows of logits, computed in f32 whatever they are stored in.
///
/// All floats have one type, unless `result` is given: then losses, log-sums, distributions and class
/// weights are f32 where logits are narrower, and the gradient for these is rounded to `result` once.
package protocol CrossEntropyOp: StoredRowsOp {
  var rule: CrossEntropyRule { get }
  /// The result that is the gradient, if any.
  static var gradientResult: Int? { get }
  init(_ rule: CrossEntropyRule, result: DType?)
}

extension CrossEntropyOp {
  package init(attributes: AttributeReader) throws {
    self.init(
      try CrossEntropyRule(attributes: attributes),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    rule.attributes + Attribute.storageType(result)
  }

  /// The element type of losses, log-sums, distributions and class weights.
  func arithmetic(_ logits: TensorType) -> DType {
    arithmetic([logits.dtype])
  }

  func lossType(_ operands: [TensorType], targetAt place: Int) throws -> TensorType {
    guard let logits = operands.first, result?.isFloat ?? true else {
      throw ApusError(
        .dtypeMismatch,
        "\(mnemonic): operands \(operands), result \(result.map { "\($0)" } ?? "none")",
        expected: "logits, and a result of floats")
    }
    return try rule.lossType(self, operands, targetAt: place, arithmetic: arithmetic(logits))
  }

  /// The logits' memory, where the gradient is of their type.
  func gradientInPlace(_ site: LoweringSite) -> [(operand: Int, result: Int)] {
    guard let index = Self.gradientResult, site.results[index].dtype == site.operands[0].dtype
    else { return [] }
    return [(operand: 0, result: index)]
  }

  /// The logits in a decomposition.
  func widened(_ logits: Tensor) -> Tensor { logits.cast(to: arithmetic(logits.type)) }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    hasKernel([operands[0].dtype])
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index == 0 }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    index == Self.gradientResult
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Self(rule, result: results[Self.gradientResult ?? 0])
  }
}
