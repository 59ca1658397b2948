// Layer normalisation over the last axis, and its gradient as an op of its own.

import ApusGraph
import CKernels
import Glibc

/// `y = (x - mean) rstd γ + β` over the last axis (Ba, Kiros, Hinton, 2016), with
/// `mean = Σ x / C` and `rstd = 1 / sqrt(Σ (x - mean)² / C + ε)`, which is 0 where both are.
///
/// The rounding error of the mean is taken out again, so that a row of equal numbers gives exactly 0.
///
/// Operands: x `[rows…, C]`, and optionally γ `[C]`, and then β `[C]`. Results: y, and mean and rstd
/// `[rows…]`, which the gradient reads. Element types: ``NormOp``.
package struct LayerNorm: NormOp {
  package static let mnemonic = "layer_norm"
  package static let statistics = 2
  package static let mostParameters = 2
  package let epsilon: Double
  package let result: DType?

  package init(epsilon: Double = 1e-5, result: DType? = nil) {
    self.epsilon = epsilon
    self.result = result
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    guard let dy = context.gradients[0], context.gradients[1] == nil, context.gradients[2] == nil
    else { return try gradientOfDecomposition(context) }
    let op = LayerNormGradient(
      parameters: operands.count - 1, result: result.map { _ in operands[0].dtype })
    let gamma = operands.count > 1 ? [operands[1]] : []
    return Tensor.applyAll(
      op, to: [dy, operands[0], results[1], results[2]] + gamma, resultCount: operands.count)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    normReference(operands, results, epsilon: epsilon, isCentered: true)
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = operands[0].cast(to: arithmetic(operands.map(\.type)))
    let mean = x.sum(axes: [-1], keepDims: true) / x.scalar(Double(x.shape[-1]))
    let deviation = x - mean
    // Of the rounded mean; mathematically 0, and so are all its derivatives.
    let rest = deviation.mean(axes: [-1], keepDims: true).stopGradient()
    let centered = deviation - rest
    let rstd = reciprocalRoot(
      (centered * centered).sum(axes: [-1], keepDims: true), x.shape[-1], epsilon: epsilon)
    var y = centered * rstd
    if operands.count > 1 { y = y * operands[1] }
    if operands.count > 2 { y = y + operands[2] }
    let row = x.shape.withoutLast
    return [stored(y), mean.reshaped(row), rstd.reshaped(row)]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = normCall(site, CK_NORM_LAYER_FORWARD, "ck_layer_norm")
    call.bind(\ck_norm_args.mean, to: .result(1))
    call.bind(\ck_norm_args.rstd, to: .result(2))
    if site.operands.count > 2 { call.bind(\ck_norm_args.beta, to: .operand(2)) }
    return call
  }
}

/// The gradients of ``LayerNorm``: with `n = (x - mean) rstd` and `g = dy γ`,
/// `dx = rstd (g - Σ g / C - n Σ g n / C)`, `dγ = Σ_rows dy n`, `dβ = Σ_rows dy`.
///
/// Operands: dy, x, mean, rstd and, with parameters, γ. Results: dx, and dγ and dβ as far as there are
/// `parameters`.
package struct LayerNormGradient: NormGradientOp {
  package static let mnemonic = "layer_norm_gradient"
  package static let statistics = 2
  /// 0, 1 (γ) or 2 (γ and β).
  package let parameters: Int
  package let epsilon: Double?
  package let result: DType?

  package init(parameters: Int, epsilon: Double? = nil, result: DType? = nil) {
    self.parameters = parameters
    self.epsilon = epsilon
    self.result = result
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try normGradientTypes(operands, atMost: 2)
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    normGradientReference(operands, results, isCentered: true)
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let wide = arithmetic(operands.map(\.type))
    let (dy, x) = (operands[0].cast(to: wide), operands[1].cast(to: wide))
    let statistics =
      try epsilon.map { try LayerNorm(epsilon: $0).decompose([x]).dropFirst().map(\.self) }
      ?? Array(operands[2...3])
    let column = statistics[0].shape.appendingOne
    let (mean, rstd) = (statistics[0].reshaped(column), statistics[1].reshaped(column))
    let count = Double(x.shape[-1])
    let n = (x - mean) * rstd
    let g = gammaIndex.map { dy * operands[$0] } ?? dy
    let meanG = g.sum(axes: [-1], keepDims: true) / count
    let meanGN = (g * n).sum(axes: [-1], keepDims: true) / count
    var results = [stored(rstd * (g - meanG - n * meanGN))]
    let rows = Array(0..<(x.rank - 1))
    if parameters > 0 { results.append((dy * n).sum(axes: rows)) }
    if parameters > 1 { results.append(dy.sum(axes: rows)) }
    return results
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = normGradientCall(site, CK_NORM_LAYER_BACKWARD, "ck_layer_norm_backward")
    if epsilon == nil {
      call.bind(\ck_norm_backward_args.mean, to: .operand(2))
      call.bind(\ck_norm_backward_args.rstd, to: .operand(3))
    }
    return call
  }
}

/// Rows of mean 0 and variance 1 over the last axis, then scaled by `gamma` and shifted by `beta`.
///
///     let h = layerNorm(x, gamma: scale, beta: shift)   // f32[8,128,768], f32[768], f32[768]
///
/// - `beta`: needs `gamma`.
/// A row of equal numbers gives 0 (and `beta`), exactly. 16-bit floats are computed in `f32` and rounded
/// once.
///
/// - `epsilon`: added to the variance, 0 or more (else `invalidArgument`). With 0, a row of equal numbers
///   has no derivative: it is taken to be 0.
public func layerNorm(
  _ x: Tensor, gamma: Tensor? = nil, beta: Tensor? = nil, epsilon: Double = 1e-5,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  let location = sourceLocation(file, line)
  if let error = mistake(ofEpsilon: epsilon, "layerNorm") {
    return .poisoned(error, like: x, location: location)
  }
  var operands = [x]
  if let gamma { operands.append(widened(gamma, like: x, location)) }
  if let beta {
    guard gamma != nil else {
      return .poisoned(
        ApusError(.invalidArgument, "layerNorm: beta without gamma", expected: "both or gamma"),
        like: x, location: location)
    }
    operands.append(widened(beta, like: x, location))
  }
  return Tensor.applyAll(
    LayerNorm(epsilon: epsilon, result: x.dtype.isHalf ? x.dtype : nil), to: operands,
    resultCount: 3, location: location)[0]
}

/// A parameter of rows of 16-bit floats, which are computed in `f32`.
func widened(_ parameter: Tensor, like x: Tensor, _ location: String) -> Tensor {
  x.dtype.isHalf && parameter.dtype == x.dtype
    ? parameter.cast(to: .f32, location: location) : parameter
}

extension DType {
  /// Whether it is `bf16` or `f16`: what is computed in `f32` and rounded.
  var isHalf: Bool { self == .bf16 || self == .f16 }
}

/// What is wrong with a number that is added to a mean of squares, whose root is then divided by.
func mistake(ofEpsilon epsilon: Double, _ name: String) -> ApusError? {
  epsilon >= 0 && epsilon.isFinite
    ? nil : ApusError(.invalidArgument, "\(name): epsilon is \(epsilon)", expected: "0 or more")
}
