// The gradients of batch normalisation, as an op of their own.

import ApusGraph
import CKernels

/// With `rstd = 1 / sqrt(variance + ε)`, `n = (x - mean) rstd` and R rows:
/// `dx = γ rstd (dy - Σ dy / R - n Σ dy n / R)`, `dγ = Σ_rows dy n`, `dβ = Σ_rows dy`.
///
/// The kernel goes over the rows twice: for the sums, and for dx. It leaves a rectifier's gate to what makes
/// dy, which has each element in a register: read here, the mask would be read twice.
///
/// Operands: dy and x `[rows…, C]`, mean and variance `[C]`, and with parameters γ `[C]`. Results: dx, and dγ
/// and dβ as far as there are `parameters`. Element types: ``StoredRowsOp``; mean, variance, γ and its gradient
/// are f32 at least.
package struct BatchNormGradient: StoredRowsOp {
  package static let mnemonic = "batch_norm_gradient"
  /// 0, 1 (γ) or 2 (γ and β).
  package let parameters: Int
  /// What the forward pass adds to the variance.
  package let epsilon: Double
  package let result: DType?

  package init(parameters: Int, epsilon: Double = 1e-5, result: DType? = nil) {
    self.parameters = parameters
    self.epsilon = epsilon
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      parameters: try attributes.int("parameters"), epsilon: try attributes.double("epsilon"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [Attribute("parameters", .int(parameters)), Attribute("epsilon", .double(epsilon))]
      + Attribute.storageType(result)
  }

  private var gammaIndex: Int? { parameters > 0 ? 4 : nil }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard (0...2).contains(parameters), result?.isFloat ?? true else {
      throw ApusError(
        .invalidArgument,
        "\(mnemonic): \(parameters) parameters" + (result.map { ", a result of \($0)" } ?? ""),
        expected: "0 to 2, and floats")
    }
    try expect(4 + min(parameters, 1), operands)
    let x = operands[1]
    let channels = TensorType(
      arithmetic(operands.prefix(2).map(\.dtype)), try x.checkedChannels(mnemonic).shape)
    let isRight = operands.indices.allSatisfy { index in
      let operand = operands[index]
      guard index < 2 else { return operand == channels }
      return operand.shape == x.shape
        && (operand.dtype == x.dtype || result != nil && operand.dtype.isFloat)
    }
    guard isRight else {
      throw ApusError(
        .shapeMismatch,
        "\(mnemonic): operands are \(operands.map(\.description).joined(separator: ", "))",
        expected: "rows of one shape, and \(channels) of channels")
    }
    return [x.with(result ?? x.dtype)] + Array(repeating: channels, count: parameters)
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let sums = ChannelSums(operands[1])
    let (x, mean) = (sums.values, operands[2].doubles)
    let rstd = reciprocalRoots(operands[3].doubles, epsilon)
    let gamma = gammaIndex.map { operands[$0].doubles }
    let g = operands[0].doubles
    func n(_ place: Int, _ channel: Int) -> Double { (x[place] - mean[channel]) * rstd[channel] }
    let dBeta = sums.sums { place, _ in g[place] }
    let dGamma = sums.sums { g[$0] * n($0, $1) }
    let count = Double(sums.rows)
    let dx = x.indices.map { place in
      let c = place % sums.channels
      let inner = g[place] - dBeta[c] / count - n(place, c) * dGamma[c] / count
      return (gamma?[c] ?? 1) * rstd[c] * inner
    }
    return zip([dx, dGamma, dBeta], results).map { NDArray(doubles: $0, type: $1) }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    hasKernel(operands.prefix(2).map(\.dtype))
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let wide = arithmetic(operands.prefix(2).map(\.dtype))
    let (g, x) = (operands[0].cast(to: wide), operands[1].cast(to: wide))
    let rstd = reciprocalRoot(operands[3], epsilon)
    let n = (x - operands[2]) * rstd
    let rows = Array(0..<x.rank - 1)
    let each = 1 / Double(max(x.shape.withoutLast.count, 1))
    let (dBeta, dGamma) = (g.sum(axes: rows), (g * n).sum(axes: rows))
    let scale = gammaIndex.map { operands[$0] * rstd } ?? rstd
    let dx = scale * (g - dBeta * each - n * (dGamma * each))
    return [stored(dx)] + [dGamma, dBeta].prefix(parameters)
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let x = site.operands[1]
    var args = ck_batch_norm_backward_args()
    args.rows = Int64(x.shape.withoutLast.count)
    args.cols = Int64(x.shape[-1])
    args.epsilon = Float(epsilon)
    args.dx_dtype = site.results[0].dtype.kernelCode
    args.dy_dtype = site.operands[0].dtype.kernelCode
    args.x_dtype = x.dtype.kernelCode
    var call = KernelCall(
      "ck_batch_norm_backward", ck_batch_norm(CK_BATCH_NORM_BACKWARD, ck_isa(site.isa)), site,
      block: args)
    call.bind(\ck_batch_norm_backward_args.dy, to: .operand(0))
    call.bind(\ck_batch_norm_backward_args.x, to: .operand(1))
    call.bind(\ck_batch_norm_backward_args.mean, to: .operand(2))
    call.bind(\ck_batch_norm_backward_args.variance, to: .operand(3))
    if let gammaIndex { call.bind(\ck_batch_norm_backward_args.gamma, to: .operand(gammaIndex)) }
    call.bind(\ck_batch_norm_backward_args.dx, to: .result(0))
    if parameters > 0 { call.bind(\ck_batch_norm_backward_args.dgamma, to: .result(1)) }
    if parameters > 1 { call.bind(\ck_batch_norm_backward_args.dbeta, to: .result(2)) }
    call.workspaceBytes = ck_batch_norm_backward_workspace_bytes(&args)
    call.bind(\ck_batch_norm_backward_args.workspace, to: .workspace)
    call.inPlace = [0, 1].filter { site.operands[$0].dtype == site.results[0].dtype }
      .map { (operand: $0, result: 0) }
    call.flops = 10 * Double(x.count)
    // The rows are read once more for dx.
    call.bytes += Double(site.operands[0].byteCount + x.byteCount)
    return call
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index < 2 }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { index == 0 }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    BatchNormGradient(parameters: parameters, epsilon: epsilon, result: results[0])
  }
}
