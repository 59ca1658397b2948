// Normalisations of single examples by channels, made of other ops; and local response normalisation.

import ApusGraph

/// Each example's channels in `groups` groups, each with mean 0 and variance 1 over its channels and all
/// places, then scaled by `gamma` and shifted by `beta`: Wu & He 2018.
///
///     let h = groupNorm(x, groups: 8, gamma: scale, beta: shift)   // f32[8,32,32,64], f32[64], f32[64]
///
/// Equal numbers give 0 (and `beta`), exactly. 16-bit floats are computed in `f32` and rounded once.
///
/// - `x`: floats `[n, …, channels]`.
/// - `groups`: a divisor of the channels (else `invalidArgument`), which lie next to each other.
/// - `gamma`, `beta`: `[channels]`; `beta` needs `gamma`.
/// - `epsilon`: added to the variance, 0 or more (else `invalidArgument`). With 0, equal numbers have no
///   derivative: it is taken to be 0.
public func groupNorm(
  _ x: Tensor, groups: Int, gamma: Tensor? = nil, beta: Tensor? = nil, epsilon: Double = 1e-5,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    try x.normalizedGroups("groupNorm", gamma, beta, epsilon) { channels in
      guard groups >= 1, channels % groups == 0 else {
        throw ApusError(
          .invalidArgument, "groupNorm: \(groups) groups of \(channels) channels of \(x.type)",
          expected: "a divisor of the channels")
      }
      return groups
    }
  }
}

/// Each channel of each example with mean 0 and variance 1 over all places, then scaled by `gamma` and shifted
/// by `beta`: Ulyanov, Vedaldi & Lempitsky 2016.
///
///     let h = instanceNorm(x)   // f32[8,32,32,64]
///
/// - Otherwise as ``groupNorm(_:groups:gamma:beta:epsilon:file:line:)`` with a group a channel.
public func instanceNorm(
  _ x: Tensor, gamma: Tensor? = nil, beta: Tensor? = nil, epsilon: Double = 1e-5,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) { try x.normalizedGroups("instanceNorm", gamma, beta, epsilon) { $0 } }
}

extension Tensor {
  fileprivate func normalizedGroups(
    _ name: String, _ gamma: Tensor?, _ beta: Tensor?, _ epsilon: Double,
    _ groups: (_ channels: Int) throws -> Int
  ) throws -> Tensor {
    if let error = mistake(ofEpsilon: epsilon, name) { throw error }
    let channelType = try type.checkedChannels(name)
    guard rank >= 2, gamma != nil || beta == nil else {
      throw ApusError(
        .invalidArgument, "\(name): \(type)" + (rank >= 2 ? ", beta without gamma" : ""),
        expected: "[n, …, channels], and both or gamma")
    }
    let channels = shape[-1]
    // Without channels there is nothing to group.
    let groups = channels == 0 ? 1 : try groups(channels)
    let parameters = [gamma, beta].compactMap { $0 }
    for parameter in parameters
    where parameter.shape != channelType.shape && !parameter.isPoisoned {
      throw ApusError(
        .shapeMismatch, "\(name): \(type) with a parameter \(parameter.type)",
        expected: "\(channelType)")
    }
    return inSingle { x in
      let places = shape.dimensions.dropFirst().dropLast().reduce(1) { $0 * $1 }
      // The rows of one group lie next to each other where there is but one.
      let normal =
        groups == 1
        ? layerNorm(x.reshaped([shape[0], places * channels]), epsilon: epsilon)
        : x.reshaped([shape[0], places, channels]).standardized(groups: groups, epsilon)
      let y = normal.reshaped(shape)
      let wide = parameters.map { $0.cast(to: x.dtype) }
      guard let scale = wide.first else { return y }
      return wide.count > 1 ? y * scale + wide[1] : y * scale
    }
  }

  /// `[n, places, channels]` with mean 0 and variance 1 in each group. What there is one of for each channel
  /// is joined to groups where it is small: loops walk over whole rows of channels.
  private func standardized(groups: Int, _ epsilon: Double) -> Tensor {
    let (n, channels) = (shape[0], shape[2])
    let split: Shape = [n, 1, groups, channels / groups]
    let channel = centered(over: 1)
    let means = channel.mean.reshaped(split)
    let group = means.centered(over: 3)
    let squares = square(channel.deviation).mean(axes: [1], keepDims: true).reshaped(split)
    let variance = (squares + square(group.deviation)).mean(axes: [3], keepDims: true)
    func spread(_ x: Tensor) -> Tensor { x.broadcast(to: split).reshaped([n, 1, channels]) }
    return (self - spread(group.mean)) * spread(reciprocalRoot(variance, epsilon))
  }
}

extension Tensor {
  /// The mean over an axis, which keeps extent 1, and what each element is beyond it. The rounding error of
  /// the mean is taken out: equal numbers have no deviation at all.
  fileprivate func centered(over axis: Int) -> (mean: Tensor, deviation: Tensor) {
    let mean = mean(axes: [axis], keepDims: true)
    let deviation = self - mean
    // Mathematically 0, and so are all its derivatives.
    let rest = deviation.mean(axes: [axis], keepDims: true).stopGradient()
    return (mean + rest, deviation - rest)
  }
}

/// Each element divided by a power of the squares of its neighbours among the channels (Krizhevsky, Sutskever
/// & Hinton 2012): `y = x / (k + alpha / size · Σ x²)^beta`, over the `size` channels around it, of which
/// those that do not exist are 0; the divisor is PyTorch's.
///
///     let h = localResponseNorm(x, size: 5)   // f32[8,27,27,96]
///
/// - `x`: floats `[n, …, channels]`; 16-bit ones are computed in `f32` and rounded once.
/// - `size`: 1 or more (else `invalidArgument`); an even one has one channel more before than after.
public func localResponseNorm(
  _ x: Tensor, size: Int, alpha: Double = 1e-4, beta: Double = 0.75, k: Double = 1,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    _ = try x.type.checkedChannels("localResponseNorm")
    guard size >= 1, [alpha, beta, k].allSatisfy(\.isFinite) else {
      throw ApusError(
        .invalidArgument, "localResponseNorm: size \(size), alpha \(alpha), beta \(beta), k \(k)",
        expected: "a size of 1 or more, and numbers")
    }
    return x.inSingle { x in
      let sums = neighbourSums(square(x), before: size / 2, after: (size - 1) / 2)
      return x * pow(sums * (alpha / Double(size)) + k, -beta)
    }
  }
}

/// Of each element, the sum of those from `before` channels before it to `after` after it.
private func neighbourSums(_ x: Tensor, before: Int, after: Int) -> Tensor {
  let channels = x.shape[-1]
  let (before, after) = (min(before, channels), min(after, channels))
  if before + after < 16 {
    let none = Array(repeating: 0, count: x.rank - 1)
    let padded = x.padded(low: none + [before], high: none + [after])
    return (0...before + after).map { padded.sliced(axis: -1, from: $0, to: $0 + channels) }
      .reduce(nil) { (sum: Tensor?, next) in sum.map { $0 + next } ?? next } ?? x
  }
  // Many are a product with a band of ones.
  let places = x.trace.indices(channels)
  let ahead = places.expandingDims(at: 1) - places
  let isNear =
    (ahead .<= places.scalar(Double(after))) .& (ahead .>= places.scalar(-Double(before)))
  return x.matmul(isNear.cast(to: x.dtype))
}
