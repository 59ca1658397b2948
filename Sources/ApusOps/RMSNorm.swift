// Root-mean-square normalisation over the last axis, and its gradient as an op of its own.

import ApusGraph
import CKernels

/// `y = x rstd γ` over the last axis (Zhang, Sennrich, 2019), with `rstd = 1 / sqrt(Σ x² / C + ε)`.
///
/// Operands: x `[rows…, C]`, and optionally γ `[C]`. Results: y, and rstd `[rows…]`, which the gradient
/// reads.
public struct RMSNorm: CompositeOp {
  public static let mnemonic = "rms_norm"
  public let epsilon: Double

  public init(epsilon: Double = 1e-6) { self.epsilon = epsilon }
  public init(attributes: AttributeReader) throws { epsilon = try attributes.double("epsilon") }
  public var attributes: [Attribute] { [Attribute("epsilon", .double(epsilon))] }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(min(max(operands.count, 1), 2), operands)
    try expectNormOperands(operands[0], operands.dropFirst())
    return [operands[0], operands[0].with(operands[0].shape.withoutLast)]
  }

  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    guard let dy = context.gradients[0], context.gradients[1] == nil else {
      return try gradientOfDecomposition(context)
    }
    let op = RMSNormGradient(parameters: operands.count - 1)
    return Tensor.applyAll(
      op, to: [dy, operands[0], results[1]] + operands.dropFirst(), resultCount: operands.count)
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    normReference(operands, results, epsilon: epsilon, isCentered: false)
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  public func hasKernel(_ operands: [TensorType]) -> Bool { operands[0].dtype == .f32 }

  public func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = operands[0]
    let square = (x * x).sum(axes: [-1], keepDims: true) / Double(x.shape[-1])
    let rstd = 1 / sqrt(square + epsilon)
    let y = operands.count > 1 ? x * rstd * operands[1] : x * rstd
    return [y, rstd.reshaped(x.shape.withoutLast)]
  }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = normCall(site, CK_NORM_RMS_FORWARD, "ck_rms_norm_f32", epsilon: epsilon)
    call.bind(\ck_norm_args.rstd, to: .result(1))
    return call
  }
}

/// The gradients of ``RMSNorm``: with `n = x rstd` and `g = dy γ`, `dx = rstd (g - n Σ g n / C)` and
/// `dγ = Σ_rows dy n`.
///
/// Operands: dy, x, rstd and, with a parameter, γ. Results: dx, and dγ where there is a parameter.
public struct RMSNormGradient: NormGradientOp {
  public static let mnemonic = "rms_norm_gradient"
  public static let statistics = 1
  /// 0, or 1 (γ).
  public let parameters: Int
  public let epsilon: Double?

  public init(parameters: Int, epsilon: Double? = nil) {
    self.parameters = parameters
    self.epsilon = epsilon
  }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expectNormGradientOperands(operands, atMost: 1)
    return [operands[1]] + Array(repeating: operands[0].lastAxis, count: parameters)
  }

  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    normGradientReference(operands, results, isCentered: false)
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  public func hasKernel(_ operands: [TensorType]) -> Bool { operands[0].dtype == .f32 }

  public func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (dy, x) = (operands[0], operands[1])
    let row = try epsilon.map { try RMSNorm(epsilon: $0).decompose([x])[1] } ?? operands[2]
    let rstd = row.reshaped(row.shape.appendingOne)
    let n = x * rstd
    let g = gammaIndex.map { dy * operands[$0] } ?? dy
    let meanGN = (g * n).sum(axes: [-1], keepDims: true) / Double(x.shape[-1])
    let dx = rstd * (g - n * meanGN)
    return parameters > 0 ? [dx, (dy * n).sum(axes: Array(0..<(x.rank - 1)))] : [dx]
  }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = normGradientCall(site, CK_NORM_RMS_BACKWARD, "ck_rms_norm_backward_f32")
    if epsilon == nil { call.bind(\ck_norm_backward_args.rstd, to: .operand(2)) }
    return call
  }
}

/// Rows of mean square 1 over the last axis, then scaled by `gamma`.
///
///     let h = rmsNorm(x, gamma: scale)   // f32[8,128,768], f32[768] → f32[8,128,768]
public func rmsNorm(
  _ x: Tensor, gamma: Tensor? = nil, epsilon: Double = 1e-6, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  Tensor.applyAll(
    RMSNorm(epsilon: epsilon), to: [x] + (gamma.map { [$0] } ?? []), resultCount: 2,
    location: sourceLocation(file, line))[0]
}
