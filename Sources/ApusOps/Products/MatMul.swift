// The matrix product.

import ApusGraph

/// `C = op(A) op(B)`, batched: `A` is `[…, M, K]` (`[…, K, M]` where transposed), `B` is `[…, K, N]`
/// (`[…, N, K]` where transposed), `C` is `[…, M, N]`. The leading axes broadcast.
///
/// `A`, `B` and `C` have one element type, unless `result` is given: then `A` and `B` may be of different
/// float types, and the sums, which are carried in `f32`, are rounded to `result` once.
package struct MatMul: Op {
  package static let mnemonic = "matmul"
  package let transposeA: Bool
  package let transposeB: Bool
  /// The element type of the product; nil for that of the operands.
  package let result: DType?

  package init(transposeA: Bool = false, transposeB: Bool = false, result: DType? = nil) {
    self.transposeA = transposeA
    self.transposeB = transposeB
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    transposeA = try attributes.bool("transposeA")
    transposeB = try attributes.bool("transposeB")
    result = try attributes.storageType()
  }

  package var attributes: [Attribute] {
    [Attribute("transposeA", .bool(transposeA)), Attribute("transposeB", .bool(transposeB))]
      + Attribute.storageType(result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(2, operands)
    let (a, b) = (operands[0], operands[1])
    let dtype = result ?? a.dtype
    guard a.dtype.isFloat, b.dtype.isFloat, dtype.isFloat, result != nil || a.dtype == b.dtype
    else {
      throw ApusError(
        .dtypeMismatch,
        "matmul: operands have types \(a) and \(b)" + (result.map { ", the result \($0)" } ?? ""),
        expected: result == nil ? "one floating-point type" : "floating-point types")
    }
    guard a.rank >= 2, b.rank >= 2 else {
      throw ApusError(
        .shapeMismatch, "matmul: operands have types \(a) and \(b)",
        expected: "at least two axes each")
    }
    let (rows, inner) = transposeA ? (a.shape[-1], a.shape[-2]) : (a.shape[-2], a.shape[-1])
    let (other, columns) = transposeB ? (b.shape[-1], b.shape[-2]) : (b.shape[-2], b.shape[-1])
    guard inner == other else {
      let (axisA, axisB) = (transposeA ? "rows" : "columns", transposeB ? "columns" : "rows")
      throw ApusError(
        .shapeMismatch,
        "matmul: \(a) has \(inner) \(axisA), but \(b) has \(other) \(axisB)",
        expected: "equal numbers")
    }
    do {
      let batch = try Shape.broadcast(a.shape.leading, b.shape.leading)
      return [TensorType(dtype, Shape(batch.dimensions + [rows, columns]))]
    } catch {
      throw ApusError(
        .shapeMismatch, "matmul: the leading axes of \(a) and \(b) do not broadcast",
        expected: "extents that are equal or 1")
    }
  }

  // With C = A B: dA = dC Bᵀ and dB = Aᵀ dC; a transposed operand's gradient is transposed. The
  // reverse walk sums over broadcast leading axes, except where they fold into the inner dimension
  // of one large product.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (a, b, dC) = (context.operands[0], context.operands[1], context.gradient)
    // A gradient has its operand's type, whatever the product's.
    let types = result == nil ? [nil, nil] : [a.dtype, b.dtype]
    var dA: Tensor?
    var dB: Tensor?
    if context.isNeeded[0] {
      dA =
        transposeA
        ? b.product(dC, transposeB, true, result: types[0])
        : dC.product(b, false, !transposeB, result: types[0])
    }
    if context.isNeeded[1] {
      let isFoldable =
        !transposeA && b.shape.leading.count == 1 && a.rank > 2 && dC.type.count > 0
        && a.type.count > 0
        && a.shape.leading == dC.shape.leading
      let (x, y) =
        isFoldable
        ? (a.reshaped([-1, a.shape[-1]]), dC.reshaped([-1, dC.shape[-1]])) : (a, dC)
      dB =
        transposeB
        ? y.product(x, true, transposeA, result: types[1])
        : x.product(y, !transposeA, false, result: types[1])
      if isFoldable { dB = dB?.reshaped(b.shape) }
    }
    return [dA, dB]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (rows, columns) = (results[0].shape[-2], results[0].shape[-1])
    let batch = results[0].shape.leading
    let views = matrixViews(of: operands.map { View(dense: $0.shape) }, batch: batch)
    let inner = views[0].shape[-1]
    let a = operands[0].viewed(through: views[0]).doubles
    let b = operands[1].viewed(through: views[1]).doubles
    var c = [Double](repeating: 0, count: results[0].count)
    for t in 0..<batch.count {
      for i in 0..<rows {
        for p in 0..<inner {
          let factor = a[(t * rows + i) * inner + p]
          for j in 0..<columns {
            c[(t * rows + i) * columns + j] += factor * b[(t * inner + p) * columns + j]
          }
        }
      }
    }
    return [NDArray(doubles: c, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    GemmLowering.accepts(view) && !isCutByView(view, at: index, of: operands)
  }

  /// Rows of the left operand up to which a product of its own for each matrix is not worth the copy that makes
  /// one product of all.
  private static let fewRows = 128

  /// Whether many small products with one right operand would be one product, were the left operand dense: what the
  /// right operand takes to be brought into panels is then spent once.
  private func isCutByView(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    guard index == 0, !transposeA, operands[1].rank == 2, view.shape.rank > 2 else { return false }
    let rows = view.shape.rank - 2
    guard view.shape[rows] < Self.fewRows else { return false }
    return !(0..<rows).allSatisfy { axis in
      view.shape[axis] == 1 || view.strides[axis] == view.strides[axis + 1] * view.shape[axis + 1]
    }
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try GemmLowering.matmul(self, site)
  }

  /// The operands' views as `[batch…, M, K]` and `[batch…, K, N]`.
  func matrixViews(of views: [View], batch: Shape) -> [View] {
    zip(views.prefix(2), [transposeA, transposeB]).map { view, isTransposed in
      let rank = view.shape.rank
      let order =
        Array(0..<(rank - 2)) + (isTransposed ? [rank - 1, rank - 2] : [rank - 2, rank - 1])
      let matrix = view.transposed(order)
      return matrix.broadcast(
        to: Shape(batch.dimensions + matrix.shape.dimensions.suffix(2)))
    }
  }
}

extension Shape {
  /// All axes but the last two.
  var leading: Shape { Shape(Array(dimensions.dropLast(2))) }
}

extension Tensor {
  /// The matrix product of operands that have two axes or more.
  func product(
    _ other: Tensor, _ transposeSelf: Bool, _ transposeOther: Bool, result: DType? = nil,
    location: String? = nil
  ) -> Tensor {
    .apply(
      MatMul(transposeA: transposeSelf, transposeB: transposeOther, result: result), to: self,
      other,
      location: location)
  }

  /// The matrix product over the last two axes; the leading axes broadcast.
  ///
  /// A vector on the left counts as a row, one on the right as a column, and its axis is dropped from
  /// the result, as in NumPy's `matmul`.
  ///
  ///     images.matmul(weight, transposeOther: true)   // f32[64,784], f32[128,784] → f32[64,128]
  ///
  /// A shape that does not fit is reported when the graph is compiled: `shapeMismatch`.
  public func matmul(
    _ other: Tensor, transposeSelf: Bool = false, transposeOther: Bool = false,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let location = sourceLocation(file, line)
    let (a, b) = Tensor.promoted(self, other, file, line)
    guard a.rank > 0, b.rank > 0 else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "matmul: operands have types \(type) and \(other.type)",
          expected: "at least one axis each"), like: self, location: location)
    }
    let row = a.rank == 1 ? a.reshaped([1, a.shape[0]], file: file, line: line) : a
    let column = b.rank == 1 ? b.reshaped([b.shape[0], 1], file: file, line: line) : b
    var result = row.product(
      column, a.rank > 1 && transposeSelf, b.rank > 1 && transposeOther, location: location)
    guard a.rank == 1 || b.rank == 1, !result.isPoisoned else { return result }
    var kept = result.shape.dimensions
    if b.rank == 1 { kept.removeLast() }
    if a.rank == 1 { kept.remove(at: kept.count - (b.rank == 1 ? 1 : 2)) }
    result = result.reshaped(Shape(kept), file: file, line: line)
    return result
  }
}
