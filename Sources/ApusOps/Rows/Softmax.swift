// Softmax, and its gradient as an op of its own.

import ApusGraph
import CKernels
import Glibc

/// `y = exp(x - m) / Σ exp(x - m)` along `axis`, with `m` the greatest element there.
///
/// A slice with +∞ or NaN in it gives NaN, as in PyTorch. One of -∞ alone, whose classes are all masked,
/// gives zeros, and its gradient is 0; PyTorch gives NaN for both.
package struct Softmax: PlainSoftmaxOp {
  package static let mnemonic = "softmax"
  package static let rowOperands = 1
  package let axis: Int
  package let result: DType?

  package init(axis: Int, result: DType? = nil) {
    self.axis = axis
    self.result = result
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let op = SoftmaxGradient(axis: axis, result: result.map { _ in context.operands[0].dtype })
    return [.apply(op, to: context.result, context.gradient)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [mapSlices(of: operands, along: axis, results[0]) { probabilities($0[0]) }]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    [stored(probabilities(widened(operands[0], of: operands), axis))]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    softmaxCall(site, CK_SOFTMAX_FORWARD, "ck_softmax")
  }
}

/// `dx = y (dy - Σ dy y)` along `axis`: the gradient of ``Softmax``.
///
/// Operands: its result `y`, or, where nobody else reads that, the logits that it is computed from
/// (`ofLogits`); and `dy`.
package struct SoftmaxGradient: SoftmaxOp {
  package static let mnemonic = "softmax_gradient"
  package static let rowOperands = 2
  package let axis: Int
  package let ofLogits: Bool
  package let result: DType?

  /// Of logits whose exponentials a thread keeps to itself.
  package static let longestRowOfLogits = Int(CK_KEPT_COLUMNS)
  package var longestRow: Int { ofLogits ? Self.longestRowOfLogits : .max }

  package init(axis: Int, ofLogits: Bool = false, result: DType? = nil) {
    self.axis = axis
    self.ofLogits = ofLogits
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      axis: try attributes.int("axis"),
      ofLogits: attributes.has("ofLogits") ? try attributes.bool("ofLogits") : false,
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    sharedAttributes + (ofLogits ? [Attribute("ofLogits", .bool(true))] : [])
  }

  package func giving(_ result: DType) -> SoftmaxGradient {
    SoftmaxGradient(axis: axis, ofLogits: ofLogits, result: result)
  }

  // Symmetric in dy: the gradient for dy is the same map of u.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    if ofLogits || result != nil { return try gradientOfDecomposition(context) }
    let (y, dy, u) = (context.operands[0], context.operands[1], context.gradient)
    var flow: Tensor?
    if context.isNeeded[0] {
      let dots = (dy * y).sum(axes: [axis], keepDims: true)
      flow = u * (dy - dots) - dy * (u * y).sum(axes: [axis], keepDims: true)
    }
    return [flow, context.isNeeded[1] ? .apply(self, to: y, u) : nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        let y = ofLogits ? probabilities(slices[0]) : slices[0]
        let dot = zip(y, slices[1]).reduce(0) { $0 + $1.0 * $1.1 }
        return zip(y, slices[1]).map { $0 * ($1 - dot) }
      }
    ]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (first, dy) = (widened(operands[0], of: operands), widened(operands[1], of: operands))
    let y = ofLogits ? probabilities(first, axis) : first
    return [stored(y * (dy - (dy * y).sum(axes: [axis], keepDims: true)))]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    ofLogits
      ? softmaxCall(site, CK_SOFTMAX_BACKWARD_OF_LOGITS, "ck_softmax_backward_of_logits")
      : softmaxCall(site, CK_SOFTMAX_BACKWARD, "ck_softmax_backward")
  }
}

/// Probabilities along `axis`: positive, and their sum is 1; zeros where all logits are -∞, as in a row of
/// attention that is masked throughout.
///
///     let p = softmax(logits)   // f32[64,10], each row sums to 1
public func softmax(
  _ x: Tensor, axis: Int = -1, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.alongAxis(axis, file, line) { Softmax(axis: $0) }
}
