// The mean of each window, and its gradient.

import ApusGraph
import CKernels

/// `y[n, o…, c] = Σ over t of x[n, e(o, t)…, c] / divisor(o)`, over the steps t of a window at place o that
/// meet the image at e(o, t).
///
/// The divisor is the number of those steps; with `countsPadding` that of the steps within the padded image
/// (PyTorch's `count_include_pad`); or `divisor`, where it is given. A place that meets no element is 0.
package struct AveragePool: PoolOp {
  package static let mnemonic = "average_pool"
  package let window: PoolWindow
  package let countsPadding: Bool
  package let divisor: Double?
  package let result: DType?

  package init(
    _ window: PoolWindow, countsPadding: Bool = true, divisor: Double? = nil, result: DType? = nil
  ) {
    self.window = window
    self.countsPadding = countsPadding
    self.divisor = divisor
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try PoolWindow(attributes: attributes), countsPadding: try attributes.bool("countsPadding"),
      divisor: try attributes.divisor(), result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    window.attributes + [Attribute("countsPadding", .bool(countsPadding))]
      + Attribute.divisor(divisor) + Attribute.storageType(result)
  }

  package func giving(_ result: DType) -> AveragePool {
    AveragePool(window, countsPadding: countsPadding, divisor: divisor, result: result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    try expectDivisor(divisor)
    return [try pooledType(operands[0])]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let image = Array(context.operands[0].shape.dimensions[1...window.rank])
    let op = AveragePoolGradient(
      window, image: image, countsPadding: countsPadding, divisor: divisor,
      result: gradientType(context))
    return [.apply(op, to: context.gradient)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let image = Array(operands[0].shape.dimensions[1...window.rank])
    let (x, channels) = (operands[0].doubles, operands[0].shape[-1])
    var y: [Double] = []
    forEachPlace(of: results[0].shape, image: image) { _, base, place in
      let sum = window.elements(place, image).reduce(0) { $0 + x[base + $1.element * channels] }
      let count = window.count(place, image, countsPadding: countsPadding)
      y.append(sum / (divisor ?? Double(max(count, 1))))
    }
    return [NDArray(doubles: y, type: results[0])]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try poolCall(
      site, CK_POOL_AVERAGE, "ck_average_pool", isGradient: false, countsPadding: countsPadding,
      divisor: divisor)
  }
}

/// `x[n, e…, c] = Σ y[n, o…, c] / divisor(o)` over the places o whose window holds the element e: the
/// transpose of ``AveragePool``, whose gradient it is, and the other way round.
package struct AveragePoolGradient: PoolOp {
  package static let mnemonic = "average_pool_gradient"
  package let window: PoolWindow
  /// The spatial extents of the images.
  package let image: [Int]
  package let countsPadding: Bool
  package let divisor: Double?
  package let result: DType?

  package init(
    _ window: PoolWindow, image: [Int], countsPadding: Bool = true, divisor: Double? = nil,
    result: DType? = nil
  ) {
    self.window = window
    self.image = image
    self.countsPadding = countsPadding
    self.divisor = divisor
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try PoolWindow(attributes: attributes), image: try attributes.ints("image"),
      countsPadding: try attributes.bool("countsPadding"), divisor: try attributes.divisor(),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    window.attributes
      + [Attribute("image", .ints(image)), Attribute("countsPadding", .bool(countsPadding))]
      + Attribute.divisor(divisor) + Attribute.storageType(result)
  }

  package func giving(_ result: DType) -> AveragePoolGradient {
    AveragePoolGradient(
      window, image: image, countsPadding: countsPadding, divisor: divisor, result: result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    try expectDivisor(divisor)
    return [try imageType(operands[0], image)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let op = AveragePool(
      window, countsPadding: countsPadding, divisor: divisor, result: gradientType(context))
    return [.apply(op, to: context.gradient)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (y, channels) = (operands[0].doubles, results[0].shape[-1])
    var x = [Double](repeating: 0, count: results[0].count)
    forEachPlace(of: operands[0].shape, image: image) { at, base, place in
      let count = window.count(place, image, countsPadding: countsPadding)
      let share = y[at] / (divisor ?? Double(max(count, 1)))
      for (element, _) in window.elements(place, image) { x[base + element * channels] += share }
    }
    return [NDArray(doubles: x, type: results[0])]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try poolCall(
      site, CK_POOL_AVERAGE_GRADIENT, "ck_average_pool_gradient", isGradient: true,
      countsPadding: countsPadding, divisor: divisor)
  }
}

extension PoolOp {
  /// Throws where sums are divided by no number.
  fileprivate func expectDivisor(_ divisor: Double?) throws {
    // In f32, as kernels divide.
    guard let divisor, !(Float(divisor) > 0 && Float(divisor).isFinite) else { return }
    throw ApusError(
      .invalidArgument, "\(mnemonic): a divisor of \(divisor)", expected: "a number above 0")
  }
}

extension AttributeReader {
  fileprivate func divisor() throws -> Double? { has("divisor") ? try double("divisor") : nil }
}

extension Attribute {
  fileprivate static func divisor(_ divisor: Double?) -> [Attribute] {
    divisor.map { [Attribute("divisor", .double($0))] } ?? []
  }
}
