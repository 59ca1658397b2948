// The greatest element of each window.

import ApusGraph
import CKernels

/// `y[n, o…, c] = max over t of x[n, e(o, t)…, c]`, over the steps t of a window at place o that meet the
/// image at e(o, t).
///
/// Results: y, and the index of the step that has it, counted in row-major order over the window: `u8`
/// where that has at most 256 steps, else `i32`. The first of equal elements wins, and the first NaN over
/// all numbers; padding never does. A place that meets no element at all is −∞, with index 0.
package struct MaxPool: PoolOp {
  package static let mnemonic = "max_pool"
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

  package func giving(_ result: DType) -> MaxPool { MaxPool(window, result: result) }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let y = try pooledType(operands[0])
    let image = Array(operands[0].shape.dimensions[1...window.rank])
    return [y, y.with(window.indexType(image))]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    guard let dy = context.gradients[0] else { return [nil] }
    let image = Array(context.operands[0].shape.dimensions[1...window.rank])
    let op = MaxPoolGradient(window, image: image, result: gradientType(context))
    return [.apply(op, to: dy, context.results[1])]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let image = Array(operands[0].shape.dimensions[1...window.rank])
    let (x, channels) = (operands[0].doubles, operands[0].shape[-1])
    var values: [Double] = [], indices: [Double] = []
    forEachPlace(of: results[0].shape, image: image) { _, base, place in
      var best = -Double.infinity, index: Int?
      for (element, step) in window.elements(place, image) {
        let value = x[base + element * channels]
        if index == nil || value > best || value.isNaN && !best.isNaN {
          (best, index) = (value, step)
        }
      }
      values.append(best)
      indices.append(Double(index ?? 0))
    }
    return [
      NDArray(doubles: values, type: results[0]), NDArray(doubles: indices, type: results[1]),
    ]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try poolCall(site, CK_POOL_MAX, "ck_max_pool", isGradient: false)
  }
}
