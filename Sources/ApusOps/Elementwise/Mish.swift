// A smooth activation made of other ops.

import ApusGraph

/// `y = x · tanh(softplus(x))` (Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation
/// Function"). Not an op of its own: the three fuse into one loop.
public func mish(_ x: Tensor, file: StaticString = #fileID, line: UInt = #line) -> Tensor {
  x.located(file, line) { x * tanh(softplus(x, file: file, line: line), file: file, line: line) }
}
