// The identities that are about where elements lie and how many there are.

import ApusGraph
import ApusOps

extension AlgebraRules {
  // MARK: Views

  static let places: [AlgebraRule] = [
    .init("reshape-to-same", Reshape.self) { s, op in
      s.type(of: s[0]).shape == op.shape ? s[0] : nil
    },
    .init("double-reshape", Reshape.self) { s, op in
      try s.operands(of: s[0], Reshape.self).map { try s.make(op, $0) }
    },
    .init("reshape-of-repeated", Reshape.self) { s, _ in
      guard let x = s.operands(of: s[0], Broadcast.self)?[0], s.type(of: x).count == 1 else {
        return nil
      }
      return try s.fit(s.reshape(x, []))
    },
    .init("broadcast-to-same", Broadcast.self) { s, op in
      s.type(of: s[0]).shape == op.shape ? s[0] : nil
    },
    .init("double-broadcast", Broadcast.self) { s, op in
      try s.operands(of: s[0], Broadcast.self).map { try s.make(op, $0) }
    },
    // A broadcast adds leading axes by itself.
    .init("broadcast-of-leading-axes", Broadcast.self) { s, op in
      guard let x = s.operands(of: s[0], Reshape.self)?[0] else { return nil }
      let short = s.type(of: x).shape.dimensions, long = s.type(of: s[0]).shape.dimensions
      let lead = long.count - short.count
      guard lead > 0, Array(long[lead...]) == short, long[..<lead].allSatisfy({ $0 == 1 }) else {
        return nil
      }
      return try s.make(op, x)
    },
    .init("transpose-to-same", Transpose.self) { s, op in
      op.permutation == Array(op.permutation.indices) ? s[0] : nil
    },
    .init("double-transpose", Transpose.self) { s, op in
      guard let inner = s.op(of: s[0], Transpose.self) else { return nil }
      let x = s.operands(of: s[0], Transpose.self)![0]
      return try s.make(Transpose(op.permutation.map { inner.permutation[$0] }), x)
    },
    // Moving axes of one element moves nothing in memory.
    .init("transpose-of-ones", Transpose.self) { s, op in
      let shape = s.type(of: s[0]).shape
      let moved = op.permutation.filter { shape[$0] != 1 }
      return moved == moved.sorted() ? try s.reshape(s[0], s.type.shape) : nil
    },
    .init("view-of-repeated", (any ViewOp).self) { s, op in
      guard !(op is Reshape || op is Broadcast), s.type.count > 0,
        let x = s.operands(of: s[0], Broadcast.self)?[0], s.type(of: x).count == 1
      else { return nil }
      return try s.fit(s.reshape(x, []))
    },
    // (A B)ᵀ = Bᵀ Aᵀ: the product writes its result as its readers want it.
    .init("transpose-of-product", Transpose.self) { s, op in
      guard let product = s.op(of: s[0], MatMul.self), s.isOnlyReader(of: s[0]) else { return nil }
      var order = Array(op.permutation.indices)
      order.swapAt(order.count - 1, order.count - 2)
      guard op.permutation == order else { return nil }
      let factors = s.operands(of: s[0], MatMul.self)!
      let turned = MatMul(
        transposeA: !product.transposeB, transposeB: !product.transposeA, result: product.result)
      return try s.make(turned, factors[1], factors[0])
    },
    // Elementwise ops broadcast by themselves; and what is computed before repeating is computed once.
    .init("compute-before-broadcast", (any ElementwiseOp).self) { s, op in
      let small = s.operands.map { s.operands(of: $0, Broadcast.self)?[0] ?? $0 }
      guard small != s.operands else { return nil }
      return try s.fit(s.make(op, small))
    },
  ]

  // MARK: Parts

  static let parts: [AlgebraRule] = [
    .init("slice-all", Slice.self) { s, op in
      s.type == s.type(of: s[0]) && op.starts.allSatisfy { $0 == 0 }
        && op.steps.allSatisfy { $0 == 1 } ? s[0] : nil
    },
    .init("double-slice", Slice.self) { s, op in
      guard let inner = s.op(of: s[0], Slice.self), s.type.count > 0 else { return nil }
      let axes = 0..<op.shape.rank
      let joined = Slice(
        starts: axes.map { inner.starts[$0] + op.starts[$0] * inner.steps[$0] },
        // A slice of one element does not step.
        steps: axes.map { op.shape[$0] == 1 ? 1 : inner.steps[$0] * op.steps[$0] },
        shape: op.shape)
      return try s.make(joined, s.operands(of: s[0], Slice.self)!)
    },
    .init("slice-of-pad", Slice.self) { s, op in
      guard let pad = s.op(of: s[0], Pad.self) else { return nil }
      let x = s.operands(of: s[0], Pad.self)![0]
      let walked = (0..<op.shape.rank).filter { op.shape[$0] > 1 }
      guard s.type(of: x).shape == op.shape, op.starts == pad.low,
        walked.allSatisfy({ op.steps[$0] == pad.steps[$0] })
      else { return nil }
      return x
    },
    .init("slice-of-concat", Slice.self) { s, op in
      guard let concat = s.op(of: s[0], Concat.self), s.type.count > 0 else { return nil }
      let axis = concat.axis
      let last = op.starts[axis] + (op.shape[axis] - 1) * op.steps[axis]
      var start = 0
      for part in s.operands(of: s[0], Concat.self)! {
        let end = start + s.type(of: part).shape[axis]
        if (start..<end).contains(op.starts[axis]) && (start..<end).contains(last) {
          var starts = op.starts
          starts[axis] -= start
          return try s.make(Slice(starts: starts, steps: op.steps, shape: op.shape), part)
        }
        start = end
      }
      return nil
    },
    .init("pad-nothing", Pad.self) { s, _ in s.type == s.type(of: s[0]) ? s[0] : nil },
    .init("concat-of-one", Concat.self) { s, _ in s.operands.count == 1 ? s[0] : nil },
    .init("double-concat", Concat.self) { s, op in
      let parts = s.operands.flatMap { part -> [Operand] in
        guard s.op(of: part, Concat.self)?.axis == op.axis, s.isOnlyReader(of: part) else {
          return [part]
        }
        return s.operands(of: part, Concat.self)!
      }
      // The kernel takes so many at a time.
      guard parts.count > s.operands.count, parts.count <= Concat.operandLimit else { return nil }
      return try s.make(op, parts)
    },
    // The gradient of a split: pieces among zeros, side by side.
    .init("add-pieces", Add.self) { s, _ in
      guard let p = s.op(of: s[0], Pad.self), let q = s.op(of: s[1], Pad.self),
        p.shape == q.shape, p.value == 0, q.value == 0, (p.steps + q.steps).allSatisfy({ $0 == 1 })
      else { return nil }
      let a = s.operands(of: s[0], Pad.self)![0], b = s.operands(of: s[1], Pad.self)![0]
      let (m, n) = (s.type(of: a).shape, s.type(of: b).shape)
      let differing = (0..<p.shape.rank).filter { p.low[$0] != q.low[$0] || m[$0] != n[$0] }
      guard differing.count == 1 else { return nil }
      let axis = differing[0]
      let aIsFirst = p.low[axis] + m[axis] == q.low[axis]
      guard aIsFirst || q.low[axis] + n[axis] == p.low[axis] else { return nil }
      let joined = try s.make(Concat(axis: axis), aIsFirst ? [a, b] : [b, a])
      let low = zip(p.low, q.low).map { min($0, $1) }
      return try s.make(Pad(low: low, steps: p.steps, shape: p.shape, value: 0), joined)
    },
  ]

  // MARK: Reductions

  static let reductions: [AlgebraRule] = [
    // Folding one element gives that element.
    .init("reduce-nothing", (any ReductionOp).self) { s, op in
      let shape = s.type(of: s[0]).shape
      guard op.axes.allSatisfy({ shape[$0] == 1 }) else { return nil }
      return try s.reshape(s[0], s.type.shape)
    },
    .init("reduce-twice", (any ReductionOp).self) { s, op in
      guard let inner = s.op(of: s[0], (any ReductionOp).self),
        type(of: inner) == type(of: op), s.isOnlyReader(of: s[0])
      else { return nil }
      let x = s.operands(of: s[0], (any ReductionOp).self)![0]
      let kept = (0..<s.type(of: x).rank).filter { inner.keepDims || !inner.axes.contains($0) }
      let axes = Set(inner.axes).union(op.axes.map { kept[$0] }).sorted()
      let joined = try s.make(type(of: op).init(axes: axes, keepDims: op.keepDims), x)
      return try s.reshape(joined, s.type.shape)
    },
    .init("sum-of-negated", Sum.self) { s, op in
      guard s.type.dtype != .u8, let x = s.operands(of: s[0], Negate.self) else { return nil }
      return try s.make(Negate(), s.make(op, x))
    },
    // Where all is folded, it does not matter how it lay.
    .init("reduce-all-of-rearranged", (any ReductionOp).self) { s, op in
      let type = s.type(of: s[0])
      guard op.axes.count == type.rank, s.op(of: s[0], (any Rearrangement).self) != nil else {
        return nil
      }
      let x = s.operands(of: s[0], (any Rearrangement).self)![0]
      let all = Array(0..<s.type(of: x).rank)
      let folded = try s.make(Swift.type(of: op).init(axes: all, keepDims: false), x)
      return try s.reshape(folded, s.type.shape)
    },
    // Σ over a repeated axis is its extent times the element, where the type has that number: f16 ends at
    // 65504.
    .init("sum-of-repeated", Sum.self) { s, op in
      guard let x = s.operands(of: s[0], Broadcast.self)?[0] else { return nil }
      let wide = s.type(of: s[0]).shape
      let narrow = s.type(of: x).shape.withLeadingOnes(rank: wide.rank)
      let repeated = op.axes.filter { narrow[$0] == 1 && wide[$0] > 1 }
      guard !repeated.isEmpty else { return nil }
      let count = repeated.reduce(1.0) { $0 * Double(wide[$1]) }
      let stored = NDArray(doubles: [count], type: TensorType(s.type.dtype, []))
      guard stored.scalar == count else { return nil }
      let once = try s.make(op, s.reshape(x, narrow))
      return try s.fit(s.make(Multiply(), once, s.scalar(count)))
    },
    // Folding equal elements gives that element.
    .init("extreme-of-repeated", (any IdempotentReduction).self) { s, op in
      guard let x = s.operands(of: s[0], Broadcast.self)?[0], s.type(of: s[0]).count > 0 else {
        return nil
      }
      let wide = s.type(of: s[0]).shape
      let narrow = s.type(of: x).shape.withLeadingOnes(rank: wide.rank)
      return try s.fit(s.make(op, s.reshape(x, narrow)))
    },
    // The axes are folded where they are; what is left to transpose is smaller.
    .init("reduce-of-transposed", (any ReductionOp).self) { s, op in
      guard let order = s.op(of: s[0], Transpose.self)?.permutation else { return nil }
      let x = s.operands(of: s[0], Transpose.self)![0]
      let axes = op.axes.map { order[$0] }.sorted()
      let folded = try s.make(type(of: op).init(axes: axes, keepDims: true), x)
      return try s.reshape(s.make(Transpose(order), folded), s.type.shape)
    },
    // The gradient of a bias: a sum with its axes kept, and a reshape that drops them.
    .init("reshape-of-reduction", Reshape.self) { s, op in
      guard let inner = s.op(of: s[0], (any ReductionOp).self), s.isOnlyReader(of: s[0]) else {
        return nil
      }
      let x = s.operands(of: s[0], (any ReductionOp).self)![0]
      let other = s.type(of: x).shape.reducing(inner.axes, keepDims: !inner.keepDims)
      guard other == op.shape else { return nil }
      return try s.make(
        type(of: inner).init(axes: inner.axes, keepDims: !inner.keepDims), x)
    },
  ]
}

extension Shape {
  /// The shape under which a broadcast to `rank` axes sees a tensor of this one.
  fileprivate func withLeadingOnes(rank: Int) -> Shape {
    Shape(Array(repeating: 1, count: rank - self.rank) + dimensions)
  }
}

/// An op whose result has the same elements in other places, each once.
protocol Rearrangement: ViewOp {}
extension Reshape: Rearrangement {}
extension Transpose: Rearrangement {}

/// A reduction that gives `x` for several `x`.
protocol IdempotentReduction: ReductionOp {}
extension ReduceAll: IdempotentReduction {}
extension ReduceAny: IdempotentReduction {}
extension ReduceMax: IdempotentReduction {}
extension ReduceMin: IdempotentReduction {}
