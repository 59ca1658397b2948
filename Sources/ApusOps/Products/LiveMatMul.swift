// Matrix products of as many rows, or terms, as are known at run time.

import ApusGraph
import CKernels

/// A product of packed rows of which only the first `n` are there, n known when it runs: the last number of the operand
/// `live`, `i32[…]`, from 0 to the number of rows.
///
/// - Of rows: `C[i] = A[i] op(B) + bias` for i < n, and zeros behind. A is `[rows, K]`, B `[K, N]` (`[N, K]` where
///   transposed), the bias `[N]`, if there is one.
/// - Of terms (`sumsRows`): `C = Σ A[p]ᵀ B[p]` over p < n. A is `[rows, M]`, B `[rows, N]`.
///
/// The one is the gradient of the other. Operands: A, B, `live`, and the bias. Element types are those of ``MatMul``.
package struct LiveMatMul: NarrowableOp {
  package static let mnemonic = "live_matmul"
  package let sumsRows: Bool
  package let transposeB: Bool
  package let hasBias: Bool
  /// The element type of the product; nil for that of the operands.
  package let result: DType?

  package init(
    sumsRows: Bool = false, transposeB: Bool = false, hasBias: Bool = false, result: DType? = nil
  ) {
    self.sumsRows = sumsRows
    self.transposeB = transposeB
    self.hasBias = hasBias
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      sumsRows: try attributes.bool("sumsRows"), transposeB: try attributes.bool("transposeB"),
      hasBias: try attributes.bool("bias"), result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [
      Attribute("sumsRows", .bool(sumsRows)), Attribute("transposeB", .bool(transposeB)),
      Attribute("bias", .bool(hasBias)),
    ] + Attribute.storageType(result)
  }

  /// The same product of all rows.
  private var whole: MatMul {
    MatMul(transposeA: sumsRows, transposeB: transposeB, result: result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(hasBias ? 4 : 3, operands)
    guard !sumsRows || !(transposeB || hasBias) else {
      throw ApusError(
        .invalidArgument, "live_matmul: a sum of rows with a transposed operand or a bias",
        expected: "neither")
    }
    let live = operands[2]
    guard operands[0].rank == 2, operands[1].rank == 2, live.dtype == .i32, live.rank == 1,
      live.count > 0
    else {
      throw ApusError(
        .shapeMismatch,
        "live_matmul: \(operands[0]) and \(operands[1]), of as many rows as \(live) says",
        expected: "two matrices, and i32 of one axis whose last is the number")
    }
    let product = try whole.resultTypes(Array(operands.prefix(2)))[0]
    if hasBias, operands[3].shape != [product.shape[1]] || !operands[3].dtype.isFloat {
      throw ApusError(
        .shapeMismatch, "live_matmul: the bias is \(operands[3])",
        expected: "floats [\(product.shape[1])]")
    }
    return [product]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (a, b, live) = (context.operands[0], context.operands[1], context.operands[2])
    let flow = context.gradient
    let types = result == nil ? [nil, nil] : [a.dtype, b.dtype]
    func rows(_ x: Tensor, _ w: Tensor, _ transposes: Bool, _ type: DType?) -> Tensor {
      .apply(LiveMatMul(transposeB: transposes, result: type), to: x, w, live)
    }
    func sum(_ x: Tensor, _ y: Tensor, _ type: DType?) -> Tensor {
      .apply(LiveMatMul(sumsRows: true, result: type), to: x, y, live)
    }
    if sumsRows {
      return [
        context.isNeeded[0] ? rows(b, flow, true, types[0]) : nil,
        context.isNeeded[1] ? rows(a, flow, false, types[1]) : nil, nil,
      ]
    }
    var gradients: [Tensor?] = [nil, nil, nil]
    if context.isNeeded[0] { gradients[0] = rows(flow, b, !transposeB, types[0]) }
    if context.isNeeded[1] {
      gradients[1] = transposeB ? sum(flow, a, types[1]) : sum(a, flow, types[1])
    }
    guard hasBias else { return gradients }
    var bias: Tensor?
    if context.isNeeded[3] {
      let places = flow.trace.indices(flow.shape[0], .i32).reshaped([flow.shape[0], 1])
      let isLive = places .< live.sliced(axis: 0, from: live.type.count - 1).reshaped([1, 1])
      bias = `where`(isLive, flow, flow.scalar(0)).sum(axes: [0])
        .cast(to: context.operands[3].dtype)
    }
    return gradients + [bias]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (a, b) = (operands[0].doubles, operands[1].doubles)
    let (rows, width) = (operands[0].shape[0], operands[0].shape[1])
    let columns = results[0].shape[1]
    let live = min(max(0, Int(operands[2].integers.last!)), rows)
    var c = [Double](repeating: 0, count: results[0].count)
    for row in 0..<live {
      for i in 0..<width {
        let factor = a[row * width + i]
        for j in 0..<columns {
          if sumsRows {
            c[i * columns + j] += factor * b[row * columns + j]
          } else {
            c[row * columns + j] += factor * b[transposeB ? j * width + i : i * columns + j]
          }
        }
      }
      guard hasBias else { continue }
      for (j, bias) in operands[3].doubles.enumerated() { c[row * columns + j] += bias }
    }
    return [NDArray(doubles: c, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    index < 2 && whole.accepts(view, at: index, of: Array(operands.prefix(2)))
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    index < 2 && whole.readsNarrow(operand: index, of: node)
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    whole.makesNarrow(result: index, of: node)
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    LiveMatMul(
      sumsRows: sumsRows, transposeB: transposeB, hasBias: hasBias, result: results[0])
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    guard !hasBias || site.operands[3].dtype == .f32 else {
      throw ApusError(
        .unsupported, "live_matmul: there is no kernel for a bias of \(site.operands[3].dtype)",
        expected: "f32")
    }
    return try GemmLowering.live(
      whole, site, limit: sumsRows ? CK_GEMM_LIVE_TERMS : CK_GEMM_LIVE_ROWS, hasBias: hasBias)
  }
}

extension GemmLowering {
  /// A product whose rows or terms are limited by the last number of operand 2; operand 3 is the bias, if any.
  static func live(
    _ op: MatMul, _ site: LoweringSite, limit: ck_gemm_limit, hasBias: Bool
  ) throws -> KernelCall {
    var product = try Product(op, site)
    product.block.limit = Int32(limit.rawValue)
    var call = product.call(isa: site.isa)
    call.name += limit == CK_GEMM_LIVE_ROWS ? " live rows" : " live terms"
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.c)!, to: .result(0))
    let last = (site.operands[2].count - 1) * MemoryLayout<Int32>.size
    call.bind(
      MemoryLayout<ck_gemm_args>.offset(of: \.live)!, to: .operand(2), byteOffset: last)
    if hasBias {
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.epilogue.bias)!, to: .operand(3))
    }
    return noting(product, isa: site.isa, in: call)
  }
}

/// `rows[i] W + bias` of the rows that there are, and zeros behind.
///
/// - `weight`: `[columns, width]`.
/// - `live`: `i32[…]`, whose last is the number of rows that there are.
package func liveProduct(
  _ rows: Tensor, _ weight: Tensor, bias: Tensor?, live: Tensor
) -> Tensor {
  let (rows, weight) = Tensor.promoted(rows, weight)
  let fused = bias.flatMap { !rows.dtype.isHalf && $0.dtype == rows.dtype ? $0 : nil }
  // What the kernel does not add is added behind, to all rows.
  let product = Tensor.applyAll(
    LiveMatMul(transposeB: true, hasBias: fused != nil),
    to: [rows, weight, live] + (fused.map { [$0] } ?? []))[0]
  guard fused == nil, let bias else { return product }
  return product + bias
}
