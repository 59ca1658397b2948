// Batch normalisation with the statistics of the rows at hand.

import ApusGraph

/// `y = (x - mean) rstd γ + β`, with mean and variance of each channel over all rows and
/// `rstd = 1 / sqrt(variance + ε)`, which is 0 where both are: Ioffe & Szegedy 2015.
///
/// It has no kernel of its own: ``ChannelMoments`` reads the rows, and what normalises them is arithmetic
/// that becomes one loop with the activation and the addition that follow. Its gradient is an op with a
/// kernel.
///
/// Operands: x `[rows…, C]`, and optionally γ `[C]`, and then β `[C]`. Results: y, of x's type, and mean
/// and variance `[C]`, `f32`, or `f64` of `f64`, as γ and β are.
package struct BatchNorm: CompositeOp {
  package static let mnemonic = "batch_norm"
  /// What is added to the variance.
  package let epsilon: Double

  package init(epsilon: Double = 1e-5) { self.epsilon = epsilon }

  package init(attributes: AttributeReader) throws {
    self.init(epsilon: try attributes.double("epsilon"))
  }

  package var attributes: [Attribute] { [Attribute("epsilon", .double(epsilon))] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(min(max(operands.count, 1), 3), operands)
    let channels = try operands[0].checkedChannels(mnemonic)
    for parameter in operands.dropFirst() where parameter != channels {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(operands[0]) with a parameter \(parameter)",
        expected: "\(channels)")
    }
    return [operands[0], channels, channels]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    guard let dy = context.gradients[0], context.gradients[1] == nil, context.gradients[2] == nil
    else { return try gradientOfDecomposition(context) }
    let x = operands[0]
    let op = BatchNormGradient(
      parameters: operands.count - 1, epsilon: epsilon, result: x.dtype.isHalf ? x.dtype : nil)
    let gamma = operands.count > 1 ? [operands[1]] : []
    return Tensor.applyAll(
      op, to: [dy, x, results[1], results[2]] + gamma, resultCount: operands.count)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let sums = ChannelSums(operands[0])
    let (mean, variance) = sums.moments
    let scale = zip(reciprocalRoots(variance, epsilon), operands.dropFirst().first?.doubles ?? [])
      .map { $0 * $1 }
    let factors = operands.count > 1 ? scale : reciprocalRoots(variance, epsilon)
    let shift = operands.count > 2 ? operands[2].doubles : mean.map { _ in 0 }
    let y = sums.values.enumerated().map { place, value in
      let c = place % sums.channels
      return (value - mean[c]) * factors[c] + shift[c]
    }
    return zip([y, mean, variance], results).map { NDArray(doubles: $0, type: $1) }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  package func hasKernel(_ operands: [TensorType]) -> Bool { false }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = operands[0]
    let moments = Tensor.applyAll(ChannelMoments(), to: [x], resultCount: 2)
    let y = normalized(
      x.cast(to: moments[0].dtype), moments[0], moments[1], Array(operands.dropFirst()), epsilon)
    return [y.cast(to: x.dtype)] + moments
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    throw ApusError(.unsupported, "\(mnemonic) has no kernel", expected: "its decomposition")
  }
}

/// `(x - mean) rstd γ + β`: what belongs to the channels is computed once for each.
private func normalized(
  _ x: Tensor, _ mean: Tensor, _ variance: Tensor, _ parameters: [Tensor], _ epsilon: Double
) -> Tensor {
  let rstd = reciprocalRoot(variance, epsilon)
  let y = (x - mean) * (parameters.first.map { rstd * $0 } ?? rstd)
  return parameters.count > 1 ? y + parameters[1] : y
}

/// `1 / sqrt(variance + ε)`; 0 where both are 0.
func reciprocalRoot(_ variance: Tensor, _ epsilon: Double) -> Tensor {
  let spread = variance + epsilon
  guard epsilon < Double(Float.leastNormalMagnitude) else { return 1 / sqrt(spread) }
  let isFlat = spread .== 0
  return `where`(isFlat, 0, 1 / sqrt(`where`(isFlat, 1, spread)))
}

/// The same in double.
func reciprocalRoots(_ variance: [Double], _ epsilon: Double) -> [Double] {
  variance.map { $0 + epsilon == 0 ? 0 : 1 / ($0 + epsilon).squareRoot() }
}

/// What ``batchNorm(_:gamma:beta:epsilon:file:line:)`` gives.
public struct BatchNormalized {
  /// The normalised rows, of the type of those given.
  public let result: Tensor
  /// Of each channel, `[channels]`.
  public let mean: Tensor
  /// Of each channel, `[channels]`: the mean of the squared deviations, what PyTorch calls biased.
  public let variance: Tensor
}

/// Each channel with mean 0 and variance 1 over all other axes, then scaled by `gamma` and shifted by
/// `beta`: the training form of batch normalisation (Ioffe & Szegedy 2015).
///
///     let h = batchNorm(x, gamma: scale, beta: shift).result   // f32[8,32,32,16]
///
/// The statistics come with it, for a running estimate. A channel of equal numbers gives 0 (and `beta`),
/// exactly. 16-bit floats are computed in `f32` and rounded once.
///
/// - `x`: floats `[n, …, channels]`. Without rows the statistics are NaN.
/// - `beta`: needs `gamma`.
/// - `epsilon`: added to the variance, 0 or more (else `invalidArgument`). With 0, a channel of equal numbers
///   has no derivative: it is taken to be 0.
public func batchNorm(
  _ x: Tensor, gamma: Tensor? = nil, beta: Tensor? = nil, epsilon: Double = 1e-5,
  file: StaticString = #fileID, line: UInt = #line
) -> BatchNormalized {
  let location = sourceLocation(file, line)
  let operands = batchNormOperands(x, gamma, beta, epsilon, location)
  let results = Tensor.applyAll(
    BatchNorm(epsilon: epsilon), to: operands, resultCount: 3, location: location)
  return BatchNormalized(result: results[0], mean: results[1], variance: results[2])
}

/// Each channel normalised with statistics that are known, then scaled by `gamma` and shifted by `beta`: the
/// evaluation form of batch normalisation.
///
///     let h = batchNorm(x, mean: running, variance: spread, gamma: scale, beta: shift)
///
/// - `x`: floats `[n, …, channels]`. `mean`, `variance`: `[channels]`; gradients flow through them.
/// - `beta`: needs `gamma`.
/// - `epsilon`: as in the training form.
public func batchNorm(
  _ x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor? = nil, beta: Tensor? = nil,
  epsilon: Double = 1e-5, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let channels = try x.type.checkedChannels("batchNorm")
    let location = sourceLocation(file, line)
    let given = batchNormOperands(x, gamma, beta, epsilon, location).dropFirst()
    let statistics = [mean, variance].map { widened($0, like: x, location) }
    for tensor in statistics + given where tensor.type != channels && !tensor.isPoisoned {
      throw ApusError(
        .shapeMismatch, "batchNorm: \(x.type) with \(tensor.type)", expected: "\(channels)")
    }
    let y = normalized(
      x.cast(to: channels.dtype), statistics[0], statistics[1], Array(given), epsilon)
    return y.cast(to: x.dtype)
  }
}

/// x and the parameters there are; poisoned ones in the place of mistakes.
private func batchNormOperands(
  _ x: Tensor, _ gamma: Tensor?, _ beta: Tensor?, _ epsilon: Double, _ location: String
) -> [Tensor] {
  if let error = mistake(ofEpsilon: epsilon, "batchNorm") {
    return [.poisoned(error, like: x, location: location)]
  }
  guard gamma != nil || beta == nil else {
    return [
      .poisoned(
        ApusError(.invalidArgument, "batchNorm: beta without gamma", expected: "both or gamma"),
        like: x, location: location)
    ]
  }
  return [x] + [gamma, beta].compactMap { $0.map { widened($0, like: x, location) } }
}
