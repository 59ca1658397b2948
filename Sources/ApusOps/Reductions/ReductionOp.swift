// The family of reductions: ops that fold the elements along some axes into one.

import ApusGraph

/// An op that folds the elements along some axes into one. The mnemonic is the tile machine's name of
/// the reduction, with or without the `reduce_` before it: an elementwise `max` exists too.
package protocol ReductionOp: NarrowableOp {
  /// Axes from 0, sorted; folded into one element each.
  var axes: [Int] { get }
  /// Whether folded axes stay with extent 1.
  var keepDims: Bool { get }
  init(axes: [Int], keepDims: Bool)
  /// What an empty fold gives.
  static var identity: Double { get }
  /// Whether the op folds bools (and only them).
  static var foldsBools: Bool { get }
  /// Whether an empty fold has a value; a greatest element of none does not exist.
  static var foldsNothing: Bool { get }
  /// Whether the result may lie beyond the elements, so that bytes are too short for it.
  static var isGrowing: Bool { get }
  func combine(_ a: Double, _ b: Double) -> Double
  /// The same of integers and bools, whose overflow wraps.
  static var integerIdentity: Int64 { get }
  func combine(_ a: Int64, _ b: Int64) -> Int64
}

extension ReductionOp {
  package static var foldsBools: Bool { false }
  package static var foldsNothing: Bool { true }
  package static var isGrowing: Bool { false }

  package init(attributes: AttributeReader) throws {
    self.init(axes: try attributes.ints("axes"), keepDims: try attributes.bool("keepDims"))
  }

  package var attributes: [Attribute] {
    [Attribute("axes", .ints(axes)), Attribute("keepDims", .bool(keepDims))]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let shape = operands[0].shape
    let axes = try checkedAxes(shape, axes)
    guard (operands[0].dtype == .bool) == Self.foldsBools else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): not defined for \(operands[0])",
        expected: Self.foldsBools ? "bool" : "numbers")
    }
    guard !Self.isGrowing || operands[0].dtype != .u8 else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): not defined for \(operands[0])",
        expected: "numbers of at least 32 bits: cast the tensor first")
    }
    let result = operands[0].with(shape.reducing(axes, keepDims: keepDims))
    guard Self.foldsNothing || result.count == 0 || operands[0].count > 0 else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): \(operands[0]) has no elements to choose from",
        expected: "folded axes that are not empty")
    }
    return [result]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let shape = operands[0].shape
    let axes = try shape.normalized(axes: axes)
    // Each element's place in the result: strides of the kept axes, 0 along folded ones.
    let kept = shape.reducing(axes, keepDims: true).strides
    let target = View(
      shape: shape, strides: (0..<shape.rank).map { axes.contains($0) ? 0 : kept[$0] })
    guard operands[0].dtype.isFloat else {
      var values = [Int64](repeating: Self.integerIdentity, count: results[0].count)
      for (element, value) in zip(target.elements, operands[0].integers) {
        values[element] = combine(values[element], Int64(value))
      }
      return [try NDArray(integers: values, type: results[0])]
    }
    var values = [Double](repeating: Self.identity, count: results[0].count)
    for (element, value) in zip(target.elements, operands[0].doubles) {
      values[element] = combine(values[element], value)
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try LoopLowering.reduction(self, site)
  }
}

extension ReductionOp {
  /// A tensor of the result's shape, repeated along the folded axes to the operand's shape.
  func unfolded(_ x: Tensor, to shape: Shape) -> Tensor {
    kept(x, shape).broadcast(to: shape)
  }

  /// A tensor of the result's shape with the folded axes kept at extent 1.
  func kept(_ x: Tensor, _ shape: Shape) -> Tensor {
    x.reshaped(shape.reducing(axes, keepDims: true))
  }
}

extension Tensor {
  /// How many elements a fold over `axes` makes one of; 1 for axes that do not exist, which the
  /// reduction itself reports.
  func foldedCount(_ axes: [Int]?) -> Int {
    ((try? shape.normalized(axes: axes)) ?? []).reduce(1) { Shape.product($0, shape[$1]) }
  }

  /// This tensor, integers and bools shorter than 64 bits as `i64`: what sums and products of them are
  /// computed in, as in NumPy and PyTorch.
  func summable(_ location: String) -> Tensor {
    dtype.isFloat ? self : cast(to: .i64, location: location)
  }

  /// Applies a reduction to `axes` (negative ones count from the end, nil means all).
  func reduce(
    _ axes: [Int]?, _ file: StaticString, _ line: UInt, _ make: ([Int]) -> some Op
  ) -> Tensor {
    do {
      let op = make(try shape.normalized(axes: axes))
      return .apply(op, to: self, location: sourceLocation(file, line))
    } catch {
      return .poisoned(asApusError(error), like: self, location: sourceLocation(file, line))
    }
  }
}
