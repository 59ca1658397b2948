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
    // Elementwise ops broadcast by themselves; and what is computed before repeating is computed once.
    .init("compute-before-broadcast", (any ElementwiseOp).self) { s, op in
      let small = s.operands.map { s.operands(of: $0, Broadcast.self)?[0] ?? $0 }
      guard small != s.operands else { return nil }
      return try s.fit(s.make(op, small))
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
    // Σ over a repeated axis is its extent times the element.
    .init("sum-of-repeated", Sum.self) { s, op in
      guard let x = s.operands(of: s[0], Broadcast.self)?[0] else { return nil }
      let wide = s.type(of: s[0]).shape
      let lead = wide.rank - s.type(of: x).rank
      let narrow = Shape((0..<wide.rank).map { $0 < lead ? 1 : s.type(of: x).shape[$0 - lead] })
      let repeated = op.axes.filter { narrow[$0] == 1 && wide[$0] != 1 }
      guard !repeated.isEmpty else { return nil }
      let once = try s.make(op, s.reshape(x, narrow))
      let count = repeated.reduce(1.0) { $0 * Double(wide[$1]) }
      return try s.fit(s.make(Multiply(), once, s.scalar(count)))
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

/// An op whose result has the same elements in other places, each once.
protocol Rearrangement: ViewOp {}
extension Reshape: Rearrangement {}
