// What the losses have in common: where they stand, and operands of equal shapes.

import ApusGraph
import ApusOps

/// What `body` records at the user's line, or a poisoned tensor where it throws.
func recordedLoss(
  like tensor: Tensor, _ file: StaticString, _ line: UInt, _ body: () throws -> Tensor
) -> Tensor {
  let location = sourceLocation(file, line)
  do {
    return try tensor.trace.withCallLocation(location, body)
  } catch {
    let error = asApusError(error)
    return .poisoned(error, like: tensor, location: location)
  }
}

/// Two operands that a loss compares element by element must have one shape: `[64,1]` beside `[64]` would
/// broadcast to `[64,64]`, train, and be wrong. Only a constant scalar may stand for all elements.
///
/// - Throws: `shapeMismatch` with both types.
func expectOneShape(_ name: String, _ x: Tensor, _ y: Tensor) throws {
  if x.isPoisoned || y.isPoisoned || x.shape == y.shape { return }
  func isConstant(_ tensor: Tensor) -> Bool {
    tensor.rank == 0 && tensor.trace.graph.constants.contains { $0.value == tensor.value }
  }
  guard isConstant(x) || isConstant(y) else {
    throw ApusError(
      .shapeMismatch, "\(name): operands have types \(x.type) and \(y.type)",
      expected: "equal shapes, such as those of y.reshaped(x.shape)")
  }
}

/// Weights may have fewer axes or extents of 1, but must not make the losses more.
///
/// - Throws: `shapeMismatch` where they do.
func expectWeights(_ name: String, _ weights: Tensor?, for losses: Tensor) throws {
  guard let weights, !weights.isPoisoned, !losses.isPoisoned else { return }
  guard (try? Shape.broadcast(weights.shape, losses.shape)) == losses.shape else {
    throw ApusError(
      .shapeMismatch, "\(name): weights \(weights.type) for \(losses.type)",
      expected: "weights that broadcast to \(losses.shape)")
  }
}

/// Class numbers: integers of the shape of the rows, which is that of `scores` without its last axis.
///
/// - Throws: `shapeMismatch` or `dtypeMismatch` with both types.
func expectLabels(_ name: String, _ labels: Tensor, for scores: Tensor) throws {
  if labels.isPoisoned || scores.isPoisoned { return }
  let rows = Shape(Array(scores.shape.dimensions.dropLast()))
  guard scores.rank > 0, labels.shape == rows else {
    throw ApusError(
      .shapeMismatch, "\(name): \(scores.type) has labels \(labels.type)",
      expected: scores.rank > 0 ? "labels of shape \(rows)" : "scores with an axis of classes")
  }
  guard !labels.dtype.isFloat, labels.dtype != .bool else {
    throw ApusError(
      .dtypeMismatch, "\(name): labels are \(labels.type)", expected: "integers: class numbers")
  }
}
