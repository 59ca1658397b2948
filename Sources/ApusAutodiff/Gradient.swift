// The verbs of differentiation: what users and steps ask the reverse walk for.

import ApusGraph
import ApusOps

/// The gradients of `output` with respect to each of `inputs`, recorded in their trace.
///
///     let dx = gradients(of: loss, withRespectTo: [x])[0]
///
/// - `output`: a scalar float tensor, or any float tensor where `seed` is given.
/// - `inputs`: float tensors. One that `output` does not depend on gets zeros.
/// - `seed`: the gradient of the loss with respect to `output`, of its shape; 1 by default.
/// - Returns: a tensor of the shape and type of each input. Mistakes are recorded in the trace.
public func gradients(
  of output: Tensor, withRespectTo inputs: [Tensor], seed: Tensor? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> [Tensor] {
  let trace = output.trace
  let location = sourceLocation(file, line)
  do {
    guard output.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "\(output.type) has no gradient", expected: "a float output")
    }
    guard seed != nil || output.type.count == 1 else {
      throw ApusError(
        .shapeMismatch, "gradients of an output of shape \(output.shape) need a seed",
        expected: "a scalar output, or a seed of the output's shape")
    }
    if let bad = inputs.first(where: { !$0.dtype.isFloat }) {
      throw ApusError(
        .dtypeMismatch, "a gradient with respect to \(bad.type) does not exist",
        expected: "float inputs")
    }
    if let seed, !seed.isPoisoned, seed.shape != output.shape || !seed.dtype.isFloat {
      throw ApusError(
        .shapeMismatch, "the seed of a gradient is \(seed.type)",
        expected: "a float of shape \(output.shape), the output's")
    }
    guard !output.isPoisoned, !inputs.contains(where: \.isPoisoned) else { return inputs }
    // Within a loop's body, tensors from around it are inputs of the body.
    let inputs = inputs.map(trace.local)
    var walk = ReverseWalk(trace, to: inputs)
    try walk.run(from: [(output, seed ?? output.scalar(1).broadcast(to: output.shape))])
    return inputs.map { walk.gradient(of: $0) ?? $0.scalar(0).broadcast(to: $0.shape) }
  } catch {
    let error = asApusError(error)
    trace.record(error, location: location)
    return inputs.map { Tensor(trace: trace, value: nil, type: $0.type) }
  }
}

/// The gradients of a scalar with respect to tensors, nil for those that it does not depend on, or only
/// through what lets no gradient through (`stopGradient`, `argmax`, integers): what a step must leave alone.
///
/// - Throws: what gradient rules throw.
package func flows(of output: Tensor, into inputs: [Tensor]) throws -> [Tensor?] {
  var walk = ReverseWalk(output.trace, to: inputs)
  try walk.run(from: [(output, output.scalar(1).broadcast(to: output.shape))])
  return inputs.map { walk.gradient(of: $0) }
}
