// Numbers beside tensors: which element type they are computed in.

import ApusGraph

extension Tensor {
  /// A number as the other operand of this tensor. It has this tensor's element type where that can hold
  /// it; beside integers a fraction is `f32`, and beside bools a whole number `i64`, so that promotion
  /// carries the operation out in that type (PyTorch's rule).
  ///
  /// A whole number beyond the integers of the type is noted as a mistake, as in NumPy 2.
  func operand(_ value: Double) -> Tensor {
    if dtype.holds(value) { return scalar(value) }
    let isWhole = value.isFinite && value == value.rounded()
    if !isWhole { return trace.constant(value, .f32) }
    if dtype == .bool { return trace.constant(value, .i64) }
    // Notes the mistake.
    return scalar(value)
  }

  /// This tensor compared with a number, exactly: beside integers the number need not be one, nor within
  /// their range.
  func compared<C: Comparison>(_ op: C, with value: Double, _ location: String?) -> Tensor {
    guard let range = dtype.integers, !dtype.holds(value) else {
      return .apply(op, to: self, scalar(value), location: location)
    }
    func all(_ answer: Bool) -> Tensor {
      let one = trace.constant(answer ? 1 : 0, .bool)
      return .apply(Broadcast(to: shape), to: one, location: location)
    }
    if value.isNaN { return all(C.self == NotEqual.self) }
    // No integer is the number: each lies below or above it.
    let holdsBelow = C.holds(0, 1), holdsAbove = C.holds(1, 0)
    if holdsBelow == holdsAbove { return all(holdsBelow) }
    if value < Double(range.lowerBound) { return all(holdsAbove) }
    if value >= Double(range.upperBound) { return all(holdsBelow) }
    // Within the range only fractions are left, and what lies below one is exact in a double.
    let below = scalar(value.rounded(.down))
    return holdsBelow
      ? .apply(LessOrEqual(), to: self, below, location: location)
      : .apply(Greater(), to: self, below, location: location)
  }
}
