// The logarithm of softmax, and its gradient as an op of its own.

import ApusGraph
import CKernels
import Glibc

/// `y = x - m - log Σ exp(x - m)` along `axis`, with `m` the greatest element there.
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
        let logSum = log(slices[0].reduce(0) { $0 + exp($1 - m) })
        return slices[0].map { $0 - m - logSum }
      }
    ]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = widened(operands[0], of: operands)
    guard x.shape[axis] > 0 else { return [stored(x)] }
    let shifted = x - greatestAlong(x, axis)
    return [stored(shifted - log(exp(shifted).sum(axes: [axis], keepDims: true)))]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    softmaxCall(site, CK_SOFTMAX_LOG_FORWARD, "ck_log_softmax")
  }
}

/// `dx = dy - exp(y) Σ dy` along `axis`: the gradient of ``LogSoftmax``, from its result and `dy`.
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
      context.isNeeded[1] ? u - (u * p).sum(axes: [axis], keepDims: true) : nil,
    ]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        let sum = slices[1].reduce(0, +)
        return zip(slices[0], slices[1]).map { $1 - exp($0) * sum }
      }
    ]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (y, dy) = (widened(operands[0], of: operands), widened(operands[1], of: operands))
    return [stored(dy - exp(y) * dy.sum(axes: [axis], keepDims: true))]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    softmaxCall(site, CK_SOFTMAX_LOG_BACKWARD, "ck_log_softmax_backward")
  }
}

/// Logarithms of probabilities along `axis`, without the overflow of `log(softmax(x))`.
///
///     let logP = logSoftmax(logits)   // f32[64,10]
public func logSoftmax(
  _ x: Tensor, axis: Int = -1, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.alongAxis(axis, file, line) { LogSoftmax(axis: $0) }
}
