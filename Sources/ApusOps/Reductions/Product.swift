// Products over axes.

import ApusGraph

/// `y = Π x` over `axes`, as it comes: of floats, what is on its way may leave the range of the type
/// (``ScaledProduct``).
package struct Product: ReductionOp {
  package static let mnemonic = "reduce_product"
  package static let identity = 1.0
  package static let integerIdentity: Int64 = 1
  package static let isGrowing = true
  package let axes: [Int]
  package let keepDims: Bool

  package init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  package func combine(_ a: Double, _ b: Double) -> Double { a * b }
  package func combine(_ a: Int64, _ b: Int64) -> Int64 { a &* b }

  // dy/dxᵢ is the product of the others. Dividing y by xᵢ fails where an element is 0; the product of
  // all elements before i and all after it does not, and can be differentiated again.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0]
    let folded = try x.shape.normalized(axes: axes)
    let order = (0..<x.rank).filter { !folded.contains($0) } + folded
    let moved = x.transposed(order)
    let count = folded.reduce(1) { Shape.product($0, x.shape[$1]) }
    let rows = moved.reshaped([count == 0 ? 0 : x.type.count / count, count])
    let others = rows.productBefore(isReversed: false) * rows.productBefore(isReversed: true)
    var inverse = order
    for (from, to) in order.enumerated() { inverse[to] = from }
    let slope = others.reshaped(moved.shape).transposed(inverse)
    return [kept(context.gradient, x.shape) * slope]
  }
}

extension Tensor {
  /// The product over `axes`, all of them by default. That of floats, and its gradient, are right wherever the
  /// type holds them, whatever single factors are. Integers and bools are multiplied as `i64`.
  ///
  ///     x.product(axes: [0])   // f32[64,10] → f32[10]
  public func product(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    guard dtype.isFloat else {
      return summable(sourceLocation(file, line))
        .reduce(axes, file, line) { Product(axes: $0, keepDims: keepDims) }
    }
    return reduce(axes, file, line) { ScaledProduct(axes: $0, keepDims: keepDims) }
  }

  /// For each element of each row, the product of those before it (after it, where reversed), in
  /// log₂ n steps (Hillis & Steele 1986, "Data Parallel Algorithms").
  fileprivate func productBefore(isReversed: Bool) -> Tensor {
    guard shape[1] > 1 else { return scalar(1).broadcast(to: shape) }
    var product = shifted(by: 1, isReversed, 1)
    var reach = 1
    while reach < shape[1] {
      product = product * product.shifted(by: reach, isReversed, 1)
      reach *= 2
    }
    return product
  }
}
