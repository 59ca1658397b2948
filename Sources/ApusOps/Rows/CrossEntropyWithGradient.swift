// Cross-entropy and its gradient at once: what a training step runs.

import ApusGraph
import CKernels

/// The loss of ``CrossEntropy`` and what ``CrossEntropyGradient`` makes of it, in one pass over the
/// logits.
///
/// Passes put it in the place of the two where the gradient `u` of the loss is known beforehand (it is 1
/// in a training step); user code has no call for it. Operands: logits, `u`, labels or a distribution,
/// and optionally class weights. Results: the loss and the logits' gradient.
package struct CrossEntropyWithGradient: CrossEntropyOp {
  package static let mnemonic = "cross_entropy_with_gradient"
  package static let gradientResult: Int? = 1
  package let rule: CrossEntropyRule
  package let result: DType?

  package init(_ rule: CrossEntropyRule = CrossEntropyRule(), result: DType? = nil) {
    self.rule = rule
    self.result = result
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    let loss = try lossType(operands, targetAt: 2)
    guard operands[1] == loss else {
      throw ApusError(
        .shapeMismatch, "cross_entropy_with_gradient: the loss's gradient is \(operands[1])",
        expected: "\(loss)")
    }
    return [loss, operands[0].with(result ?? operands[0].dtype)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (forward, backward) = (CrossEntropy(rule), CrossEntropyGradient(rule))
    let logSum = TensorType(results[0].dtype, results[1].shape.withoutLast)
    let first = try forward.reference(
      [operands[0]] + operands.dropFirst(2), results: [results[0], logSum])
    let second = try backward.reference(
      [operands[0], first[1], operands[1]] + operands.dropFirst(2), results: [results[1]])
    return [first[0], second[0]]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (x, rest) = (widened(operands[0]), operands.dropFirst(2))
    let forward = Tensor.applyAll(CrossEntropy(rule), to: [x] + rest, resultCount: 2)
    let backward = Tensor.applyAll(
      CrossEntropyGradient(rule), to: [x, forward[1], operands[1]] + rest)
    return [forward[0], stored(backward[0])]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = rule.call(
      CK_CROSS_ENTROPY_COMBINED, "ck_cross_entropy_combined", site, targetAt: 2)
    call.bind(\ck_cross_entropy_args.upstream, to: .operand(1))
    call.bind(\ck_cross_entropy_args.loss, to: .result(0))
    call.bind(\ck_cross_entropy_args.gradient, to: .result(1))
    call.inPlace = gradientInPlace(site)
    return call
  }
}
