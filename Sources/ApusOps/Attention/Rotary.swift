// Rotary positions.

import ApusGraph
import CKernels

/// Pairs of elements turned by angles that their time gives: Su et al., "RoFormer" (2021).
///
/// `y_a = x_a c_p - x_b s_p`, `y_b = x_b c_p + x_a s_p` for each pair p, whose elements are p and
/// `p + R / 2`, or, interleaved, `2 p` and `2 p + 1`; inverse: with -s. Elements from R on stay.
///
/// Operands: x `[B, T, H, W]`; cosines and sines `[T, R / 2]` or `[B, T, R / 2]`, f32 (f64 of f64). Result:
/// x's type, or `result`.
package struct Rotary: CompositeOp {
  package static let mnemonic = "rotary"
  package let isInterleaved: Bool
  package let isInverse: Bool
  /// The element type of the result; nil for that of x.
  package let result: DType?

  package init(isInterleaved: Bool = false, isInverse: Bool = false, result: DType? = nil) {
    self.isInterleaved = isInterleaved
    self.isInverse = isInverse
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      isInterleaved: try attributes.bool("interleaved"), isInverse: try attributes.bool("inverse"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [Attribute("interleaved", .bool(isInterleaved)), Attribute("inverse", .bool(isInverse))]
      + Attribute.storageType(result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(3, operands)
    let (x, cosines) = (operands[0], operands[1])
    guard x.rank == 4, x.dtype.isFloat, result?.isFloat ?? true else {
      throw ApusError(
        .shapeMismatch, "rotary: x is \(x)", expected: "floats [batch, time, heads, width]")
    }
    let wide = DType.attentionArithmetic([x.dtype])
    let pairs = cosines.shape[-1]
    guard cosines == operands[2], cosines.dtype == wide, [2, 3].contains(cosines.rank),
      cosines.shape[-2] == x.shape[1], cosines.rank == 2 || cosines.shape[0] == x.shape[0],
      pairs <= x.shape[3] / 2
    else {
      throw ApusError(
        .shapeMismatch, "rotary: x is \(x), cosines are \(cosines), sines \(operands[2])",
        expected:
          "\(wide) [time, pairs] or [batch, time, pairs], with at most \(x.shape[3] / 2) pairs")
    }
    return [x.with(result ?? x.dtype)]
  }

  // A rotation's transpose is its inverse.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    guard !context.isNeeded[1], !context.isNeeded[2] else {
      return try gradientOfDecomposition(context)
    }
    let op = Rotary(
      isInterleaved: isInterleaved, isInverse: !isInverse,
      result: result.map { _ in context.operands[0].dtype })
    return [.apply(op, to: context.gradient, context.operands[1], context.operands[2]), nil, nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let shape = operands[0].shape
    let x = operands[0].doubles, cosines = operands[1].doubles, sines = operands[2].doubles
    let pairs = operands[1].shape[-1], isShared = operands[1].shape.rank == 2
    var y = x
    for row in 0..<shape.dimensions.dropLast().reduce(1, *) {
      let time = row / shape[2]
      let table = (isShared ? time % shape[1] : time) * pairs
      for p in 0..<pairs {
        let a = row * shape[3] + (isInterleaved ? 2 * p : p)
        let b = isInterleaved ? a + 1 : a + pairs
        let (c, s) = (cosines[table + p], isInverse ? -sines[table + p] : sines[table + p])
        y[a] = x[a] * c - x[b] * s
        y[b] = x[b] * c + x[a] * s
      }
    }
    return [NDArray(doubles: y, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    index == 0 ? AttentionLowering.acceptsRows(view) : view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    [operands[0].dtype, result ?? .f32].allSatisfy { $0 == .f32 || $0 == .bf16 }
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let wide = operands[1].dtype
    let x = operands[0].cast(to: wide)
    let pairs = operands[1].shape[-1]
    let (c, s) = (operands[1].expandingDims(at: -2), operands[2].expandingDims(at: -2))
    let rotated = x.sliced(axis: 3, to: 2 * pairs)
    let axes = x.shape.dimensions.dropLast()
    // Elements of pairs apart: axis 3 or 4 has two.
    let axis = isInterleaved ? 4 : 3
    let split = rotated.reshaped(Shape(axes + (isInterleaved ? [pairs, 2] : [2, pairs])))
    func element(_ i: Int) -> Tensor {
      split.sliced(axis: axis, from: i, to: i + 1).squeezed(axes: [axis])
    }
    let (a, b) = (element(0), element(1))
    let turn = isInverse ? -s : s
    let joined = stack([a * c - b * turn, b * c + a * turn], axis: axis)
      .reshaped(rotated.shape)
    let rest = x.sliced(axis: 3, from: 2 * pairs)
    let y = rest.type.count > 0 ? concat([joined, rest], axis: 3) : joined
    return [y.reshaped(x.shape).cast(to: result ?? operands[0].dtype)]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let shape = site.operands[0].shape
    let strides = site.views[0].strides
    var args = ck_rotary_args()
    (args.batch, args.time) = (Int64(shape[0]), Int64(shape[1]))
    (args.heads, args.width) = (Int64(shape[2]), Int64(shape[3]))
    args.rotated = Int64(2 * site.operands[1].shape[-1])
    (args.x_batch, args.x_time, args.x_head) = (
      Int64(strides[0]), Int64(strides[1]), Int64(strides[2])
    )
    args.table_batch = site.operands[1].rank == 3 ? args.time * args.rotated / 2 : 0
    args.is_interleaved = isInterleaved ? 1 : 0
    args.is_inverse = isInverse ? 1 : 0
    args.x_dtype = site.operands[0].dtype.kernelCode
    args.out_dtype = site.results[0].dtype.kernelCode
    var call = KernelCall("ck_rotary", ck_rotary(ck_isa(site.isa)), site, block: args)
    call.bind(\ck_rotary_args.out, to: .result(0))
    call.bind(\ck_rotary_args.x, to: .operand(0))
    call.bind(\ck_rotary_args.cosines, to: .operand(1))
    call.bind(\ck_rotary_args.sines, to: .operand(2))
    call.flops = 3 * Double(shape.count)
    // Each element is written where it was read, by the thread that read it.
    let isDense = site.views[0].isContiguous
    if isDense, site.operands[0].dtype == site.results[0].dtype {
      call.inPlace = [(operand: 0, result: 0)]
    }
    call.partition = .tiles(
      count: shape[0] * shape[1], elementsPerTile: shape[2] * shape[3],
      alignedOperands: isDense ? [0] : [])
    return call
  }
}

extension Rotary: NarrowableOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index == 0 }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { true }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Rotary(isInterleaved: isInterleaved, isInverse: isInverse, result: results[0])
  }
}
