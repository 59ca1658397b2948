// The logarithm of softmax, and its gradient as an op of its own.

import ApusGraph
import CKernels
import Glibc

/// `y = x - m - log Σ exp(x - m)` along `axis`, with `m` the greatest element there.
public struct LogSoftmax: CompositeOp {
  public static let mnemonic = "log_softmax"
  /// From 0.
  public let axis: Int

  public init(axis: Int) { self.axis = axis }
  public init(attributes: AttributeReader) throws { axis = try attributes.int("axis") }
  public var attributes: [Attribute] { [Attribute("axis", .int(axis))] }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try softmaxTypes(operands, count: 1, axis)
  }

  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [.apply(LogSoftmaxGradient(axis: axis), to: context.result, context.gradient)]
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        let m = slices[0].reduce(-.infinity, greatest)
        let logSum = log(slices[0].reduce(0) { $0 + exp($1 - m) })
        return slices[0].map { $0 - m - logSum }
      }
    ]
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  public func hasKernel(_ operands: [TensorType]) -> Bool { hasRows(operands, axis) }

  public func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    guard operands[0].shape[axis] > 0 else { return operands }
    let shifted = operands[0] - greatestAlong(operands[0], axis)
    return [shifted - log(exp(shifted).sum(axes: [axis], keepDims: true))]
  }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    lowerSoftmax(site, axis, CK_SOFTMAX_LOG_FORWARD, "ck_log_softmax_f32")
  }
}

/// `dx = dy - exp(y) Σ dy` along `axis`: the gradient of ``LogSoftmax``, from its result and `dy`.
public struct LogSoftmaxGradient: CompositeOp {
  public static let mnemonic = "log_softmax_gradient"
  /// From 0.
  public let axis: Int

  public init(axis: Int) { self.axis = axis }
  public init(attributes: AttributeReader) throws { axis = try attributes.int("axis") }
  public var attributes: [Attribute] { [Attribute("axis", .int(axis))] }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try softmaxTypes(operands, count: 2, axis)
  }

  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (y, dy, u) = (context.operands[0], context.operands[1], context.gradient)
    let p = exp(y)
    return [
      context.isNeeded[0] ? -(u * p * dy.sum(axes: [axis], keepDims: true)) : nil,
      context.isNeeded[1] ? u - (u * p).sum(axes: [axis], keepDims: true) : nil,
    ]
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        let sum = slices[1].reduce(0, +)
        return zip(slices[0], slices[1]).map { $1 - exp($0) * sum }
      }
    ]
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  public func hasKernel(_ operands: [TensorType]) -> Bool { hasRows(operands, axis) }

  public func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (y, dy) = (operands[0], operands[1])
    return [dy - exp(y) * dy.sum(axes: [axis], keepDims: true)]
  }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    lowerSoftmaxGradient(site, axis, CK_SOFTMAX_LOG_BACKWARD, "ck_log_softmax_backward_f32")
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
