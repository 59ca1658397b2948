// Random tensors: normal, uniform and Bernoulli numbers, in a trace or in the current one.
//
// Each call has a stream of its own (RandomState.swift), so that two calls in one step differ, and every
// step draws others. Numbers are drawn as `f32` and converted.

import ApusGraph

extension Trace {
  /// Random numbers of a normal distribution, new ones in every step.
  ///
  ///     let noise = x.trace.randomNormal([64, 10], deviation: 0.1)   // f32[64,10]
  ///
  /// Noted as mistakes (`invalidArgument`): a deviation below 0, a mean or deviation that is not finite,
  /// a negative extent, an element type that is no float (`dtypeMismatch`).
  public func randomNormal(
    _ shape: Shape, mean: Double = 0, deviation: Double = 1, dtype: DType = .f32,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    drawn("randomNormal", shape, dtype, file, line) { location in
      guard mean.isFinite, deviation.isFinite, deviation >= 0 else {
        throw ApusError(
          .invalidArgument, "randomNormal: mean \(mean) and deviation \(deviation)",
          expected: "finite numbers, the deviation 0 or more")
      }
      let op = RandomNormal(shape, stream: nextRandomStream())
      let unit = Tensor.apply(op, to: randomKey, location: location)
      let scaled = deviation == 1 ? unit : unit * deviation
      return (mean == 0 ? scaled : scaled + mean).cast(to: dtype, location: location)
    }
  }

  /// Random numbers, uniform in `range`, new ones in every step: the lower bound may occur, the upper
  /// one does not.
  ///
  ///     let noise = x.trace.randomUniform([64, 10])   // f32[64,10] in [0, 1)
  ///
  /// Noted as mistakes (`invalidArgument`): an empty range, bounds whose distance the element type does
  /// not hold, a negative extent, an element type that is no float (`dtypeMismatch`).
  public func randomUniform(
    _ shape: Shape, in range: Range<Double> = 0..<1, dtype: DType = .f32,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    drawn("randomUniform", shape, dtype, file, line) { location in
      let (low, high) = (range.lowerBound, range.upperBound)
      guard low < high, dtype.rounded(high - low).isFinite, dtype.rounded(low).isFinite,
        dtype.rounded(low) < dtype.rounded(high)
      else {
        throw ApusError(
          .invalidArgument, "randomUniform: the range \(range)",
          expected: "finite bounds that \(dtype) tells apart")
      }
      let op = RandomUniform(shape, stream: nextRandomStream())
      let unit = Tensor.apply(op, to: randomKey, location: location)
      if range == 0..<1 && (dtype == .f32 || dtype == .f64) {
        return unit.cast(to: dtype, location: location)
      }
      // A number just below the upper bound may be rounded to it.
      let greatest = dtype.greatest(below: high)
      let numbers = (unit * (high - low) + low).cast(to: dtype, location: location)
      return minimum(numbers, greatest, file: file, line: line)
    }
  }

  /// Random bools, true with probability `p`, new ones in every step.
  ///
  ///     let keep = x.trace.bernoulli([64, 10], p: 0.9)   // bool[64,10]
  ///
  /// Noted as mistakes (`invalidArgument`): a `p` outside 0…1, a negative extent.
  public func bernoulli(
    _ shape: Shape, p: Double = 0.5, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    drawn("randomBernoulli", shape, .bool, file, line) { location in
      guard (0...1).contains(p) else {
        throw ApusError(
          .invalidArgument, "randomBernoulli: \(p) is not a probability", expected: "0 to 1")
      }
      let op = Bernoulli(shape, p: p, stream: nextRandomStream())
      return .apply(op, to: randomKey, location: location)
    }
  }

  /// What `body` records at the user's line, or a poisoned tensor where it throws.
  private func drawn(
    _ name: String, _ shape: Shape, _ dtype: DType, _ file: StaticString, _ line: UInt,
    _ body: (_ location: String) throws -> Tensor
  ) -> Tensor {
    let type = TensorType(dtype, shape)
    return Tensor(trace: self, value: nil, type: type).located(file, line) {
      _ = try type.checked(name)
      guard dtype.isFloat || dtype == .bool else {
        throw ApusError(.dtypeMismatch, "\(name): not defined for \(type)", expected: "floats")
      }
      return try body(sourceLocation(file, line))
    }
  }
}

extension Tensor {
  /// Random numbers of a normal distribution, in the current trace; new ones in every step.
  ///
  ///     let z = mean + exp(0.5 * logVariance) * Tensor.randomNormal(mean.shape)
  ///
  /// Mistakes as for ``ApusGraph/Trace/randomNormal(_:mean:deviation:dtype:file:line:)``.
  public static func randomNormal(
    _ shape: Shape, mean: Double = 0, deviation: Double = 1, dtype: DType = .f32,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    Trace.recording.randomNormal(
      shape, mean: mean, deviation: deviation, dtype: dtype, file: file, line: line)
  }

  /// Random numbers, uniform in `range`, in the current trace; new ones in every step.
  ///
  ///     let t = Tensor.randomUniform([64, 1], in: -1..<1)   // f32[64,1]
  ///
  /// Mistakes as for ``ApusGraph/Trace/randomUniform(_:in:dtype:file:line:)``.
  public static func randomUniform(
    _ shape: Shape, in range: Range<Double> = 0..<1, dtype: DType = .f32,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    Trace.recording.randomUniform(shape, in: range, dtype: dtype, file: file, line: line)
  }

  /// Random bools, true with probability `p`, in the current trace; new ones in every step.
  ///
  ///     let isKept = Tensor.randomBernoulli([64, 10], p: 0.9)   // bool[64,10]
  ///
  /// Mistakes as for ``ApusGraph/Trace/bernoulli(_:p:file:line:)``.
  public static func randomBernoulli(
    _ shape: Shape, p: Double = 0.5, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { Trace.recording.bernoulli(shape, p: p, file: file, line: line) }
}

extension DType {
  /// A number rounded to this type.
  fileprivate func rounded(_ value: Double) -> Double {
    NDArray(doubles: [value], type: TensorType(self, [])).scalar
  }

  /// The greatest number of this float type below `bound`.
  fileprivate func greatest(below bound: Double) -> Double {
    // Half the distance to the next number below, at least; doubled until rounding leaves the bound.
    var step = Swift.max(Swift.abs(bound) * 0x1p-54, 0x1p-1000)
    while rounded(bound - step) >= bound { step *= 2 }
    return rounded(bound - step)
  }
}
