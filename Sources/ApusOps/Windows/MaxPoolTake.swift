// Taking the elements that max pooling has chosen, of any images: the gradient of its gradient.

import ApusGraph
import CKernels

/// `y[n, o…, c] = x[n, e(o, i[n, o…, c])…, c]`, with indices i as ``MaxPool`` gives them; 0 where a step is
/// outside the image, or none.
///
/// Linear in x, and the transpose of ``MaxPoolGradient``: the two are all that derivatives of max pooling
/// of any order are made of.
package struct MaxPoolTake: PoolOp {
  package static let mnemonic = "max_pool_take"
  package let window: PoolWindow
  package let result: DType?

  package init(_ window: PoolWindow, result: DType? = nil) {
    self.window = window
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(try PoolWindow(attributes: attributes), result: try attributes.storageType())
  }

  package var attributes: [Attribute] { window.attributes + Attribute.storageType(result) }

  package func giving(_ result: DType) -> MaxPoolTake { MaxPoolTake(window, result: result) }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(2, operands)
    let y = try pooledType(operands[0])
    try expectSteps(
      operands[1], y.shape, of: Array(operands[0].shape.dimensions[1...window.rank]))
    return [y]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let image = Array(context.operands[0].shape.dimensions[1...window.rank])
    let op = MaxPoolGradient(window, image: image, result: gradientType(context))
    return [.apply(op, to: context.gradient, context.operands[1]), nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let image = Array(operands[0].shape.dimensions[1...window.rank])
    let (x, indices) = (operands[0].doubles, operands[1].integers)
    let channels = operands[0].shape[-1]
    var y = [Double](repeating: 0, count: results[0].count)
    forEachPlace(of: results[0].shape, image: image) { at, base, place in
      for (element, step) in window.elements(place, image) where step == Int(indices[at]) {
        y[at] = x[base + element * channels]
      }
    }
    return [NDArray(doubles: y, type: results[0])]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try poolCall(site, CK_POOL_MAX_TAKE, "ck_max_pool_take", isGradient: false)
  }
}
