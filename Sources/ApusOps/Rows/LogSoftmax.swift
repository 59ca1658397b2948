// The logarithm of softmax, and its gradient as an op of its own.

import ApusGraph
import CKernels
import Glibc

/// `y = x - m - log Σ exp(x - m)` along `axis`, with `m` the greatest element there.
///
/// A slice of -∞ alone gives -∞, the logarithms of ``Softmax``'s zeros, and its gradient is 0.
package struct LogSoftmax: PlainSoftmaxOp {
  package static let mnemonic = "log_softmax"
  package static let rowOperands = 1
  package let axis: Int
  package let result: DType?

  package init(axis: Int, result: DType? = nil) {
    self.axis = axis
    self.result = result
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let op = LogSoftmaxGradient(axis: axis, result: result.map { _ in context.operands[0].dtype })
    return [.apply(op, to: context.result, context.gradient)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        let m = slices[0].reduce(-.infinity, greatest)
        if m == -.infinity { return slices[0] }
        let logSum = log(slices[0].reduce(0) { $0 + exp($1 - m) })
        return slices[0].map { $0 - m - logSum }
      }
    ]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = widened(operands[0], of: operands)
    guard x.shape[axis] > 0 else { return [stored(x)] }
    let mask = MaskedSlices(x, axis)
    let shifted = x - mask.shift
    let sum = exp(shifted).sum(axes: [axis], keepDims: true)
    return [stored(shifted - log(mask.orOne(sum)))]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    softmaxCall(site, CK_SOFTMAX_LOG_FORWARD, "ck_log_softmax")
  }
}

/// `dx = dy - exp(y) Σ dy` along `axis`: the gradient of ``LogSoftmax``, from its result and `dy`. 0 where
/// all of the slice is -∞.
package struct LogSoftmaxGradient: PlainSoftmaxOp {
  package static let mnemonic = "log_softmax_gradient"
  package static let rowOperands = 2
  package let axis: Int
  package let result: DType?

  package init(axis: Int, result: DType? = nil) {
    self.axis = axis
    self.result = result
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    if result != nil { return try gradientOfDecomposition(context) }
    let (y, dy, u) = (context.operands[0], context.operands[1], context.gradient)
    let p = exp(y)
    return [
      context.isNeeded[0] ? -(u * p * dy.sum(axes: [axis], keepDims: true)) : nil,
      context.isNeeded[1]
        ? whereAnyCounts(y, u - (u * p).sum(axes: [axis], keepDims: true)) : nil,
    ]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        if !slices[0].contains(where: { $0 != -.infinity }) { return slices[0].map { _ in 0 } }
        let sum = slices[1].reduce(0, +)
        return zip(slices[0], slices[1]).map { $1 - exp($0) * sum }
      }
    ]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (y, dy) = (widened(operands[0], of: operands), widened(operands[1], of: operands))
    return [stored(whereAnyCounts(y, dy - exp(y) * dy.sum(axes: [axis], keepDims: true)))]
  }

  /// `values`, or 0 in slices whose logarithms are -∞ throughout.
  private func whereAnyCounts(_ y: Tensor, _ values: Tensor) -> Tensor {
    y.shape[axis] == 0 ? values : `where`(MaskedSlices(y, axis).isMasked, 0, values)
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    softmaxCall(site, CK_SOFTMAX_LOG_BACKWARD, "ck_log_softmax_backward")
  }
}

/// Logarithms of probabilities along `axis`, without the overflow of `log(softmax(x))`; -∞ where all logits
/// are, with a gradient of 0.
///
///     let logP = logSoftmax(logits)   // f32[64,10]
public func logSoftmax(
  _ x: Tensor, axis: Int = -1, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.alongAxis(axis, file, line) { LogSoftmax(axis: $0) }
}
