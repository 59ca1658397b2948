// Where in a sequence a token stands, added to what it is.

import ApusGraph
import ApusOps

/// Adds a learnt vector for each place: `[n, t, width]` → the same, t at most `length`.
///
/// The table is `[length, width]` and starts in N(0, 0.02²).
public struct LearnedPositions: Layer, Sendable {
  let scope = Scope()
  public let weight: Parameter

  /// - `length`: the most tokens of a row.
  public init(
    _ length: Int, _ width: Int, initializer: Initializer = .normal(mean: 0, deviation: 0.02)
  ) {
    weight = Parameter([length, width], initializer)
  }

  public func forward(_ x: Tensor) -> Tensor {
    let (length, width) = (weight.shape[0], weight.shape[1])
    if let mistake = x.mistake(ofSequences: width, "LearnedPositions") {
      return .poisoned(mistake, like: x)
    }
    guard x.isPoisoned || x.shape[1] <= length else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "LearnedPositions is given \(x.shape[1]) tokens a row",
          expected: "at most \(length), as it has positions"), like: x)
    }
    return x + weight.tensor.sliced(axis: 0, to: x.shape[1])
  }
}

/// Adds sines and cosines of the place: `[n, t, width]` → the same (Vaswani et al. 2017). The table is
/// that of `sinusoidalPositions(length:width:)`.
public struct SinusoidalPositions: Layer, Sendable {
  let scope = Scope()

  public init() {}

  public func forward(_ x: Tensor) -> Tensor {
    guard x.isPoisoned || x.rank == 3 && x.dtype.isFloat else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "SinusoidalPositions is given \(x.type)", expected: "floats [n,t,width]"),
        like: x)
    }
    let table = sinusoidalPositions(length: x.shape[1], width: x.shape[2])
    return x + table.cast(to: x.dtype)
  }
}
