// Tensors out of nothing: constants and ranges, in the trace that is current or another tensor's.
//
// Shapes are fixed when a graph is recorded, so that each of these is a small constant, broadcast where
// it is large: nothing is computed at run time that need not be. A mistake stands at the user's line.

import ApusGraph

extension Trace {
  /// A tensor of equal elements.
  ///
  /// A negative extent, or more elements than there is memory for, is noted as a mistake.
  public func full(
    _ shape: Shape, _ value: Double, _ dtype: DType = .f32, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    let scalar = constant(value, dtype)
    return scalar.located(file, line) {
      _ = try TensorType(dtype, shape).checked("full")
      return scalar.broadcast(to: shape, file: file, line: line)
    }
  }

  /// `start, start + step, …`: the numbers before `stop`.
  ///
  /// A range without an end (a step of 0, or NaN) is noted as a mistake.
  public func range(
    from start: Double = 0, to stop: Double, by step: Double = 1, _ dtype: DType = .i32,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let location = sourceLocation(file, line)
    let none = NDArray(zeros: TensorType(dtype, [0]))
    let count = ((stop - start) / step).rounded(.up)
    guard count.isFinite, count < 0x1p28 else {
      record(
        ApusError(
          .invalidArgument, "a range from \(start) to \(stop) by \(step)",
          expected: "a step that reaches the end, in less than 2^28 steps"), location: location)
      return constant(none)
    }
    guard count > 0 else { return constant(none) }
    // Multiplied, not added up: the last element is as exact as the first.
    let values = (0..<Int(count)).map { start + Double($0) * step }
    if let wrong = values.first(where: { !dtype.holds($0) }) {
      record(
        ApusError(
          .invalidArgument, "a range from \(start) to \(stop) by \(step): \(wrong) is no \(dtype)",
          expected: "whole numbers of that type, or an element type that holds them"),
        location: location)
    }
    return constant(NDArray(doubles: values, type: TensorType(dtype, [values.count])))
  }

  /// `0, 1, … count - 1`.
  func indices(_ count: Int, _ dtype: DType = .i32) -> Tensor { range(to: Double(count), dtype) }

  /// The identity matrix, `columns` wide where that is given.
  ///
  /// A negative number of rows or columns is noted as a mistake.
  public func eye(
    _ rows: Int, columns: Int? = nil, _ dtype: DType = .f32, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    constant(0, dtype).located(file, line) {
      _ = try TensorType(dtype, [rows, columns ?? rows]).checked("eye")
      let isOnDiagonal =
        indices(rows).expandingDims(at: 1, file: file, line: line) .== indices(columns ?? rows)
      return isOnDiagonal.cast(to: dtype, file: file, line: line)
    }
  }
}

extension Tensor {
  /// A scalar of this tensor's element type, in this tensor's trace.
  public func scalar(_ value: Double) -> Tensor { trace.constant(value, dtype) }

  /// Zeros of this tensor's type.
  public func zerosLike(file: StaticString = #fileID, line: UInt = #line) -> Tensor {
    fullLike(0, file: file, line: line)
  }
  /// Ones of this tensor's type.
  public func onesLike(file: StaticString = #fileID, line: UInt = #line) -> Tensor {
    fullLike(1, file: file, line: line)
  }
  /// Equal elements in a tensor of this one's type.
  public func fullLike(
    _ value: Double, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { trace.full(shape, value, dtype, file: file, line: line) }

  /// A tensor of equal elements, in the current trace.
  public static func full(
    _ shape: Shape, _ value: Double, _ dtype: DType = .f32, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor { Trace.recording.full(shape, value, dtype, file: file, line: line) }

  /// Zeros, in the current trace.
  public static func zeros(
    _ shape: Shape, _ dtype: DType = .f32, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { full(shape, 0, dtype, file: file, line: line) }

  /// Ones, in the current trace.
  public static func ones(
    _ shape: Shape, _ dtype: DType = .f32, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor { full(shape, 1, dtype, file: file, line: line) }

  /// `start, start + step, …` before `stop`, in the current trace: NumPy's `arange`.
  ///
  ///     Tensor.arange(to: 4)                     // i32 [0, 1, 2, 3]
  ///     Tensor.arange(from: 1, to: 2, by: 0.25, .f32)
  public static func arange(
    from start: Double = 0, to stop: Double, by step: Double = 1, _ dtype: DType = .i32,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    Trace.recording.range(from: start, to: stop, by: step, dtype, file: file, line: line)
  }

  /// The position along `axis` of each element of a tensor of that shape.
  ///
  ///     Tensor.iota([2, 3], axis: 1)   // i32 [[0, 1, 2], [0, 1, 2]]
  public static func iota(
    _ shape: Shape, axis: Int, _ dtype: DType = .i32, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    let trace = Trace.recording
    return trace.constant(0, dtype).located(file, line) {
      _ = try TensorType(dtype, shape).checked("iota")
      let axis = try shape.normalized(axis: axis)
      let column = Shape((0..<shape.rank).map { $0 == axis ? shape[axis] : 1 })
      return trace.indices(shape[axis], dtype).reshaped(column, file: file, line: line)
        .broadcast(to: shape, file: file, line: line)
    }
  }

  /// The identity matrix, in the current trace.
  ///
  ///     Tensor.eye(2)   // f32 [[1, 0], [0, 1]]
  public static func eye(
    _ rows: Int, columns: Int? = nil, _ dtype: DType = .f32, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor { Trace.recording.eye(rows, columns: columns, dtype, file: file, line: line) }

  /// `array` as a constant of the current trace.
  public static func constant(_ array: NDArray) -> Tensor { Trace.recording.constant(array) }
}

extension Trace {
  /// The current trace; where there is none, a trace of its own, whose tensors mix with no others.
  static var recording: Trace { current ?? Trace() }
}
