// Root-mean-square normalisation over the last axis, and its gradient as an op of its own.

import ApusGraph
import CKernels

/// `y = x rstd γ` over the last axis (Zhang, Sennrich, 2019), with `rstd = 1 / sqrt(Σ x² / C + ε)`, which is 0
/// where both are.
///
/// Operands: x `[rows…, C]`, and optionally γ `[C]`. Results: y, and rstd `[rows…]`, which the gradient
/// reads. Element types: ``NormOp``.
package struct RMSNorm: NormOp {
  package static let mnemonic = "rms_norm"
  package static let statistics = 1
  package static let mostParameters = 1
  package let epsilon: Double
  package let result: DType?

  package init(epsilon: Double = 1e-6, result: DType? = nil) {
    self.epsilon = epsilon
    self.result = result
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    guard let dy = context.gradients[0], context.gradients[1] == nil else {
      return try gradientOfDecomposition(context)
    }
    let op = RMSNormGradient(
      parameters: operands.count - 1, result: result.map { _ in operands[0].dtype })
    return Tensor.applyAll(
      op, to: [dy, operands[0], results[1]] + operands.dropFirst(), resultCount: operands.count)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    normReference(operands, results, epsilon: epsilon, isCentered: false)
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = operands[0].cast(to: arithmetic(operands.map(\.type)))
    let rstd = reciprocalRoot(
      (x * x).sum(axes: [-1], keepDims: true), x.shape[-1], epsilon: epsilon)
    let y = operands.count > 1 ? x * rstd * operands[1] : x * rstd
    return [stored(y), rstd.reshaped(x.shape.withoutLast)]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = normCall(site, CK_NORM_RMS_FORWARD, "ck_rms_norm")
    call.bind(\ck_norm_args.rstd, to: .result(1))
    return call
  }
}

/// The gradients of ``RMSNorm``: with `n = x rstd` and `g = dy γ`, `dx = rstd (g - n Σ g n / C)` and
/// `dγ = Σ_rows dy n`.
///
/// Operands: dy, x, rstd and, with a parameter, γ. Results: dx, and dγ where there is a parameter.
package struct RMSNormGradient: NormGradientOp {
  package static let mnemonic = "rms_norm_gradient"
  package static let statistics = 1
  /// 0, or 1 (γ).
  package let parameters: Int
  package let epsilon: Double?
  package let result: DType?

  package init(parameters: Int, epsilon: Double? = nil, result: DType? = nil) {
    self.parameters = parameters
    self.epsilon = epsilon
    self.result = result
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try normGradientTypes(operands, atMost: 1)
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    normGradientReference(operands, results, isCentered: false)
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let wide = arithmetic(operands.map(\.type))
    let (dy, x) = (operands[0].cast(to: wide), operands[1].cast(to: wide))
    let row = try epsilon.map { try RMSNorm(epsilon: $0).decompose([x])[1] } ?? operands[2]
    let rstd = row.reshaped(row.shape.appendingOne)
    let n = x * rstd
    let g = gammaIndex.map { dy * operands[$0] } ?? dy
    let meanGN = (g * n).sum(axes: [-1], keepDims: true) / Double(x.shape[-1])
    let dx = stored(rstd * (g - n * meanGN))
    return parameters > 0 ? [dx, (dy * n).sum(axes: Array(0..<(x.rank - 1)))] : [dx]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = normGradientCall(site, CK_NORM_RMS_BACKWARD, "ck_rms_norm_backward")
    if epsilon == nil { call.bind(\ck_norm_backward_args.rstd, to: .operand(2)) }
    return call
  }
}

/// Rows of mean square 1 over the last axis, then scaled by `gamma`.
///
///     let h = rmsNorm(x, gamma: scale)   // f32[8,128,768], f32[768] → f32[8,128,768]
///
/// 16-bit floats are computed in `f32` and rounded once.
///
/// - `epsilon`: added to the mean square, 0 or more (else `invalidArgument`). With 0, a row of zeros gives
///   zeros, and its derivative is taken to be 0.
public func rmsNorm(
  _ x: Tensor, gamma: Tensor? = nil, epsilon: Double = 1e-6, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  let location = sourceLocation(file, line)
  if let error = mistake(ofEpsilon: epsilon, "rmsNorm") {
    return .poisoned(error, like: x, location: location)
  }
  return Tensor.applyAll(
    RMSNorm(epsilon: epsilon, result: x.dtype.isHalf ? x.dtype : nil),
    to: [x] + (gamma.map { [widened($0, like: x, location)] } ?? []), resultCount: 2,
    location: location)[0]
}
