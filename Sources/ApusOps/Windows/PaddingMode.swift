// What a tensor is padded with: zeros, or what stands in itself.

import ApusGraph

/// What stands around a tensor.
public enum PaddingMode: Sendable, Hashable, CaseIterable {
  /// Zeros: `0 0 | a b c | 0 0`.
  case zeros
  /// The tensor seen in a mirror that stands on its last element: `c b | a b c | b a`.
  case reflect
  /// Its last element: `a a | a b c | c c`.
  case replicate
  /// Its other end: `b c | a b c | a b`.
  case circular
}

extension Tensor {
  /// The tensor with `low[i]` elements before it and `high[i]` after it along each axis, zeros or taken from
  /// itself: NumPy's `pad` in the modes constant, reflect, edge and wrap.
  ///
  ///     x.padded(low: [0, 1, 1, 0], high: [0, 1, 1, 0], mode: .reflect)   // f32[8,5,5,3] → f32[8,7,7,3]
  ///
  /// - `low`, `high`: one number an axis, none negative; fewer than the extent to reflect, no more than the
  ///   extent to go round, and to replicate an element at least (else `invalidArgument`).
  public func padded(
    low: [Int], high: [Int], mode: PaddingMode, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    if mode == .zeros { return padded(low: low, high: high, file: file, line: line) }
    return located(file, line) {
      guard low.count == rank, high.count == rank, (low + high).allSatisfy({ $0 >= 0 }) else {
        throw ApusError(
          .invalidArgument, "pad: \(low) before and \(high) after \(type)",
          expected: "one number an axis, none negative")
      }
      let padded = Shape(try (0..<rank).map { try Shape.sum([low[$0], shape[$0], high[$0]]) })
      _ = try type.with(padded).checked("pad")
      for axis in 0..<rank where Swift.max(low[axis], high[axis]) > 0 {
        let most =
          switch mode {
          case .reflect: shape[axis] - 1
          case .circular: shape[axis]
          case .replicate, .zeros: shape[axis] > 0 ? Int.max : 0
          }
        guard Swift.max(low[axis], high[axis]) <= most else {
          throw ApusError(
            .invalidArgument,
            "pad: \(low) before and \(high) after \(type), in mode \(mode)",
            expected: "at most \(Swift.max(most, 0)) along axis \(axis)")
        }
      }
      return (0..<rank).reduce(self) { $0.padded(low[$1], high[$1], mode, axis: $1) }
    }
  }

  /// Along one axis, in a mode that takes elements of the tensor; the numbers are known to fit.
  private func padded(_ low: Int, _ high: Int, _ mode: PaddingMode, axis: Int) -> Tensor {
    let extent = shape[axis]
    func part(_ from: Int, _ to: Int) -> Tensor { sliced(axis: axis, from: from, to: to) }
    func pieces(_ count: Int, _ piece: () -> Tensor) -> [Tensor] { count > 0 ? [piece()] : [] }
    func repeated(_ place: Int, _ count: Int) -> Tensor {
      var wide = shape
      wide.dimensions[axis] = count
      return part(place, place + 1).broadcast(to: wide)
    }
    let (before, after): ([Tensor], [Tensor])
    switch mode {
    case .reflect:
      before = pieces(low) { part(1, low + 1).flipped(axis: axis) }
      after = pieces(high) { part(extent - 1 - high, extent - 1).flipped(axis: axis) }
    case .replicate, .zeros:
      before = pieces(low) { repeated(0, low) }
      after = pieces(high) { repeated(extent - 1, high) }
    case .circular:
      before = pieces(low) { part(extent - low, extent) }
      after = pieces(high) { part(0, high) }
    }
    return before.isEmpty && after.isEmpty ? self : concat(before + [self] + after, axis: axis)
  }
}
