// Putting elements back where max pooling took them from: its gradient.

import ApusGraph
import CKernels

/// Images of zeros, to which each element of the first operand is added at the step of its window that the
/// second operand says: `x[n, e(o, i[n, o…, c])…, c] += y[n, o…, c]`.
///
/// The transpose of ``MaxPoolTake``. Elements that meet are added in the order of the places. An index of
/// a step that is outside the image, or of none, adds nothing.
package struct MaxPoolGradient: PoolOp {
  package static let mnemonic = "max_pool_gradient"
  package let window: PoolWindow
  /// The spatial extents of the images.
  package let image: [Int]
  package let result: DType?

  package init(_ window: PoolWindow, image: [Int], result: DType? = nil) {
    self.window = window
    self.image = image
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try PoolWindow(attributes: attributes), image: try attributes.ints("image"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    window.attributes + [Attribute("image", .ints(image))] + Attribute.storageType(result)
  }

  package func giving(_ result: DType) -> MaxPoolGradient {
    MaxPoolGradient(window, image: image, result: result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(2, operands)
    let x = try imageType(operands[0], image)
    try expectSteps(operands[1], operands[0].shape, of: image)
    return [x]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let op = MaxPoolTake(window, result: gradientType(context))
    return [.apply(op, to: context.gradient, context.operands[1]), nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (y, indices) = (operands[0].doubles, operands[1].integers)
    let channels = results[0].shape[-1]
    var x = [Double](repeating: 0, count: results[0].count)
    forEachPlace(of: operands[0].shape, image: image) { at, base, place in
      for (element, step) in window.elements(place, image) where step == Int(indices[at]) {
        x[base + element * channels] += y[at]
      }
    }
    return [NDArray(doubles: x, type: results[0])]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try poolCall(site, CK_POOL_MAX_GRADIENT, "ck_max_pool_gradient", isGradient: true)
  }
}
