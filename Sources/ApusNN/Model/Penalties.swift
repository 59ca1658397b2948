// Penalties on the size of weights, as parts of a loss.

import ApusGraph
import ApusOps

extension Module {
  /// `λ Σ |w|` over parameters: it makes weights that are of little use exactly small.
  ///
  ///     let loss = crossEntropy(model(batch.x), batch.y) + model.l1Penalty(1e-5, "*.weight")
  ///
  /// - `factor`: λ, 0 or more.
  /// - `pattern`: the parameters, by their paths; all by default. One that matches none is an error of the recording
  ///   (`missing`).
  public func l1Penalty(
    _ factor: Double, _ pattern: String = "*", file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    penalty("l1Penalty", factor, pattern, file, line) { abs($0).sum() }
  }

  /// `λ Σ w²` over parameters, as Keras's `l2`; half of it is PyTorch's `weight_decay`. An optimiser's decay costs no
  /// pass of its own; this is for what should be part of the loss that is reported.
  ///
  ///     let loss = mse(model(batch.x), batch.y) + model.l2Penalty(1e-4, "*.weight")
  ///
  /// - `factor`: λ, 0 or more.
  /// - `pattern`: as for ``l1Penalty(_:_:file:line:)``.
  public func l2Penalty(
    _ factor: Double, _ pattern: String = "*", file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    penalty("l2Penalty", factor, pattern, file, line) { square($0).sum() }
  }

  private func penalty(
    _ name: String, _ factor: Double, _ pattern: String, _ file: StaticString, _ line: UInt,
    _ size: (Tensor) -> Tensor
  ) -> Tensor {
    // Outside of a recording the parameters say so.
    let zero = (Trace.current ?? Trace()).constant(0)
    return recordedLoss(like: zero, file, line) {
      guard factor >= 0, factor.isFinite else {
        throw ApusError(
          .invalidArgument, "\(name): the factor is \(factor)",
          expected: "a finite number, 0 or more")
      }
      let matcher = PathPattern(pattern)
      let all = parameters
      let chosen = all.filter { matcher.matches($0.path) }
      guard !chosen.isEmpty else {
        throw ApusError(
          .missing, "\(name): no path of a parameter matches '\(pattern)'",
          expected: all.isEmpty
            ? "a model with parameters" : all.prefix(6).map(\.path).joined(separator: ", "))
      }
      let sizes = chosen.map { size($0.parameter.tensor).cast(to: .f32) }
      return sizes.dropFirst().reduce(sizes[0]) { $0 + $1 } * factor
    }
  }
}
