// Products of floats over axes, right wherever the element type holds the result.

import ApusGraph
import Glibc

/// `y = Π x` over `axes`, of floats: of `[1e20, 1e-20, 1e20, 1e-20, …]` it is 1, in whatever order.
///
/// Each element is a number near 1 and a power of two. The numbers are multiplied, a few at a time, and the
/// exponents added up; in the end they come together. There is no kernel for the whole: it is made of
/// elementwise ops and ``Product``.
package struct ScaledProduct: CompositeOp {
  package static let mnemonic = "product"
  /// From 0, sorted.
  package let axes: [Int]
  package let keepDims: Bool

  package init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  package init(attributes: AttributeReader) throws {
    self.init(axes: try attributes.ints("axes"), keepDims: try attributes.bool("keepDims"))
  }

  package var attributes: [Attribute] {
    [Attribute("axes", .ints(axes)), Attribute("keepDims", .bool(keepDims))]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    guard operands[0].dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "product: not defined for \(operands[0])", expected: "floats")
    }
    let axes = try checkedAxes(operands[0].shape, axes)
    return [operands[0].with(operands[0].shape.reducing(axes, keepDims: keepDims))]
  }

  // dy/dxᵢ is the product of the others. Dividing y by xᵢ fails where an element is 0; the product of
  // all elements before i and all after it does not, and can be differentiated again.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    let rows = FoldedRows(x, try x.shape.normalized(axes: axes))
    let each = ScaledNumbers(rows.wide)
    let others = each.before(isReversed: false).times(each.before(isReversed: true)).value
    let kept = context.gradient.reshaped(x.shape.reducing(axes, keepDims: true))
    return [kept * rows.unfolded(others).cast(to: x.dtype)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let shape = operands[0].shape
    let axes = try shape.normalized(axes: axes)
    var significands = [Double](repeating: 1, count: results[0].count)
    var exponents = [Int](repeating: 0, count: results[0].count)
    let kept = shape.reducing(axes, keepDims: true).strides
    let target = View(
      shape: shape, strides: (0..<shape.rank).map { axes.contains($0) ? 0 : kept[$0] })
    for (place, value) in zip(target.elements, operands[0].doubles) {
      let product = significands[place] * value
      guard product.isFinite, product != 0, value.isFinite else {
        // 0 times what is not finite is NaN, whatever comes after.
        significands[place] *= value
        continue
      }
      significands[place] = product.sign == .minus ? -product.significand : product.significand
      exponents[place] += Int(product.exponent)
    }
    let values = zip(significands, exponents).map {
      scalbn($0, Swift.max(-3000, Swift.min(3000, $1)))
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  package func hasKernel(_ operands: [TensorType]) -> Bool { false }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = operands[0]
    let type = try resultTypes([x.type])[0]
    let rows = FoldedRows(x, try x.shape.normalized(axes: axes))
    return [ScaledNumbers(rows.wide).folded().value.reshaped(type.shape).cast(to: type.dtype)]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    throw ApusError(.unsupported, "product has no kernel", expected: "its decomposition")
  }
}

/// A tensor whose folded axes are one, the last, in f32 at least.
private struct FoldedRows {
  /// `[rows, elements]`.
  let wide: Tensor
  private let moved: Shape
  private let inverse: [Int]

  init(_ x: Tensor, _ folded: [Int]) {
    let order = (0..<x.rank).filter { !folded.contains($0) } + folded
    let moved = x.transposed(order)
    let count = folded.reduce(1) { $0 * x.shape[$1] }
    let rows = (0..<x.rank).reduce(1) { folded.contains($1) ? $0 : $0 * x.shape[$1] }
    wide = (x.dtype.isHalf ? moved.cast(to: .f32) : moved).reshaped([rows, count])
    self.moved = moved.shape
    var inverse = order
    for (from, to) in order.enumerated() { inverse[to] = from }
    self.inverse = inverse
  }

  /// A tensor of the shape of `wide` in the original shape.
  func unfolded(_ rows: Tensor) -> Tensor { rows.reshaped(moved).transposed(inverse) }
}

/// Numbers as `number · 2^exponent`, the number's magnitude about 1 to 2, or 0 or not finite; `[rows, n]`.
private struct ScaledNumbers {
  var number: Tensor
  /// Whole numbers, which no gradient flows through.
  var exponent: Tensor

  init(_ x: Tensor) {
    let magnitude = abs(x.stopGradient())
    let isUsual = logicalAnd(magnitude .> 0, isFinite(magnitude))
    exponent = `where`(isUsual, magnitude.exponent(), 0).stopGradient()
    number = x * exp2(-exponent)
  }

  private init(number: Tensor, exponent: Tensor) {
    self.init(number)
    self.exponent = self.exponent + exponent
  }

  func times(_ other: ScaledNumbers) -> ScaledNumbers {
    ScaledNumbers(number: number * other.number, exponent: exponent + other.exponent)
  }

  /// The numbers themselves. A power of two that f32 does not hold comes in two halves.
  var value: Tensor {
    let bounded = clamp(exponent, low: -254, high: 254)
    let half = floor(bounded * 0.5)
    return number * exp2(half) * exp2(bounded - half)
  }

  /// The product of each row, `[rows, 1]`: so many at a time that none leaves f32.
  func folded() -> ScaledNumbers {
    let (rows, count) = (number.shape[0], number.shape[1])
    guard count > 0 else {
      return ScaledNumbers(number.trace.full([rows, 1], 1, number.dtype))
    }
    var result = self
    while result.number.shape[1] > 1 {
      let size = Swift.min(32, result.number.shape[1])
      let (numbers, exponents) = (result.number.grouped(size, 1), result.exponent.grouped(size, 0))
      result = ScaledNumbers(
        number: .apply(Product(axes: [2], keepDims: false), to: numbers),
        exponent: exponents.sum(axes: [2]))
    }
    return result
  }

  /// For each element of each row the product of those before it (after it, where reversed), in log₂ n
  /// steps (Hillis & Steele 1986, "Data Parallel Algorithms").
  func before(isReversed: Bool) -> ScaledNumbers {
    let count = number.shape[1]
    guard count > 1 else { return ScaledNumbers(number.trace.full(number.shape, 1, number.dtype)) }
    func shifted(_ x: ScaledNumbers, by distance: Int) -> ScaledNumbers {
      var result = x
      result.number = x.number.shifted(by: distance, isReversed, 1)
      result.exponent = x.exponent.shifted(by: distance, isReversed, 0)
      return result
    }
    var product = shifted(self, by: 1)
    var reach = 1
    while reach < count {
      product = product.times(shifted(product, by: reach))
      reach *= 2
    }
    return product
  }
}

extension Tensor {
  /// Rows `[rows, n]` in groups, `[rows, groups, size]`; the last is filled up.
  fileprivate func grouped(_ size: Int, _ filling: Double) -> Tensor {
    let groups = (shape[1] + size - 1) / size
    let missing = groups * size - shape[1]
    let whole = missing == 0 ? self : padded(low: [0, 0], high: [0, missing], value: filling)
    return whole.reshaped([shape[0], groups, size])
  }

  /// Rows moved to the right (left, where reversed) by so many places.
  func shifted(by distance: Int, _ isReversed: Bool, _ filling: Double) -> Tensor {
    let kept =
      isReversed
      ? sliced(axis: 1, from: distance) : sliced(axis: 1, from: 0, to: shape[1] - distance)
    return kept.padded(
      low: [0, isReversed ? 0 : distance], high: [0, isReversed ? distance : 0], value: filling)
  }
}
