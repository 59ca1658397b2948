// The identities of pooling.

import ApusGraph
import ApusOps

extension AlgebraRules {
  /// A rectifier before max pooling: its mask is applied to what was pooled, and the images themselves need
  /// not be kept for the backward pass.
  ///
  ///     %2, %3 = max_pool(%0) …                       %2, %3 = max_pool(%0) …
  ///     %4 = max_pool_gradient(%1, %3) …       =>     %4 = gate(%2, %1)
  ///     %5 = gate(%0, %4)                             %5 = max_pool_gradient(%4, %3) …
  ///
  /// Let e be an element of the images y, and W(e) the places whose index is the step at e. For each of them
  /// the pooled p has the very bits of y at e, so `p > 0` where `y > 0`, a NaN included, for which both are
  /// false. If `y > 0` at e, the gate before the gradient passes all that W(e) adds up, and both sides are the
  /// same sum in the same order. Else both are 0: on the left because the gate is shut, on the right because
  /// each of W(e) gives 0, whatever stood there, a NaN or an infinity included. An element in no place's
  /// window, or that none has chosen, is 0 on both sides.
  static let pools: [AlgebraRule] = [
    .init("gate-before-max-pool", Gate.self) { s, op in
      guard let gradient = s.op(of: s[1], MaxPoolGradient.self), s.isOnlyReader(of: s[1]),
        let parts = s.operands(of: s[1], MaxPoolGradient.self),
        let forward = s.op(of: parts[1], MaxPool.self), forward.window == gradient.window,
        // What is stored in another type has other bits.
        forward.result == nil, gradient.result == nil,
        s.operands(of: parts[1], MaxPool.self) == [s[0]], s.type(of: s[0]) == s.type
      else { return nil }
      let pooled = s.results(besides: parts[1])
      guard pooled[1] == parts[1], s.type(of: pooled[0]) == s.type(of: parts[0]) else {
        return nil
      }
      return try s.make(gradient, s.make(op, pooled[0], parts[0]), parts[1])
    }
  ]
}
