// Cross-entropy and its gradient at once: what a training step runs.

import ApusGraph
import CKernels

/// The loss of ``CrossEntropy`` and what ``CrossEntropyGradient`` makes of it, in one pass over the
/// logits.
///
/// Passes put it in the place of the two where the gradient `u` of the loss is known beforehand (it is 1
/// in a training step); user code has no call for it. Operands: logits, `u`, labels or a distribution,
/// and optionally class weights. Results: the loss and the logits' gradient.
public struct CrossEntropyWithGradient: CompositeOp {
  public static let mnemonic = "cross_entropy_with_gradient"
  public let rule: CrossEntropyRule

  public init(_ rule: CrossEntropyRule = CrossEntropyRule()) { self.rule = rule }
  public init(attributes: AttributeReader) throws {
    rule = try CrossEntropyRule(attributes: attributes)
  }
  public var attributes: [Attribute] { rule.attributes }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    let loss = try rule.lossType(self, operands, targetAt: 2)
    guard operands[1] == loss else {
      throw ApusError(
        .shapeMismatch, "cross_entropy_with_gradient: the loss's gradient is \(operands[1])",
        expected: "\(loss)")
    }
    return [loss, operands[0]]
  }

  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (forward, backward) = (CrossEntropy(rule), CrossEntropyGradient(rule))
    let logSum = results[1].with(results[1].shape.withoutLast)
    let first = try forward.reference(
      [operands[0]] + operands.dropFirst(2), results: [results[0], logSum])
    let second = try backward.reference(
      [operands[0], first[1], operands[1]] + operands.dropFirst(2), results: [results[1]])
    return [first[0], second[0]]
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  public func hasKernel(_ operands: [TensorType]) -> Bool { operands[0].dtype == .f32 }

  public func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let rest = operands.dropFirst(2)
    let forward = Tensor.applyAll(CrossEntropy(rule), to: [operands[0]] + rest, resultCount: 2)
    let backward = Tensor.applyAll(
      CrossEntropyGradient(rule), to: [operands[0], forward[1], operands[1]] + rest)
    return [forward[0], backward[0]]
  }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = rule.call(
      CK_CROSS_ENTROPY_COMBINED, "ck_cross_entropy_combined_f32", site, targetAt: 2)
    call.bind(\ck_cross_entropy_args.upstream, to: .operand(1))
    call.bind(\ck_cross_entropy_args.loss, to: .result(0))
    call.bind(\ck_cross_entropy_args.gradient, to: .result(1))
    call.inPlace = [(operand: 0, result: 1)]
    return call
  }
}
