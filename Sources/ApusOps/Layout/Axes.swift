// An axis between what lies outside and inside of it.

import ApusGraph

extension Shape {
  /// A dense tensor of this shape as `[outer, extent, inner]` around `axis` (an index from 0).
  func split(at axis: Int) -> (outer: Int, extent: Int, inner: Int) {
    (
      dimensions.prefix(axis).reduce(1, Shape.product), self[axis],
      dimensions.dropFirst(axis + 1).reduce(1, Shape.product)
    )
  }

  /// All axes but the last.
  var withoutLast: Shape { Shape(Array(dimensions.dropLast())) }

  /// This shape with `axis` of another extent.
  func replacing(_ axis: Int, with extent: Int) -> Shape {
    var result = self
    result.dimensions[axis] = extent
    return result
  }

  /// This shape with one more axis of extent 1 at the end.
  var appendingOne: Shape { Shape(dimensions + [1]) }
}

extension Op {
  /// The one operand type, which must be of floats, and this op's axis in it.
  func floatAxis(_ operands: [TensorType], _ axis: Int) throws -> Int {
    guard let first = operands.first, first.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): not defined for \(operands.first?.description ?? "nothing")",
        expected: "floats")
    }
    return try checkedAxis(first, axis)
  }

  /// `axis`, which must be an index from 0 into the type's shape.
  func checkedAxis(_ type: TensorType, _ axis: Int) throws -> Int {
    guard (0..<type.rank).contains(axis) else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): axis \(axis) does not exist in \(type)",
        expected: type.rank == 0 ? "a tensor with axes" : "an axis in 0..<\(type.rank)")
    }
    return axis
  }

  /// Axes as ops keep them: from 0, each once, in order. Calls of users bring them there; texts may not.
  ///
  /// - Throws: `invalidArgument` for other ones.
  func checkedAxes(_ shape: Shape, _ axes: [Int]) throws -> [Int] {
    guard axes == (try? shape.normalized(axes: axes)) else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): axes \(axes) of \(shape)",
        expected: "axes in 0..<\(shape.rank), in order, each once")
    }
    return axes
  }
}

extension TensorType {
  /// The type of a parameter of the last axis.
  var lastAxis: TensorType { with([shape[-1]]) }
}
