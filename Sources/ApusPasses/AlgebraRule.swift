// What a rule of the algebra is, and what it sees of the graph.
//
// The rules themselves stand in `AlgebraRules.swift`.

import ApusGraph
import ApusOps

/// One identity: for an op of a certain kind, a simpler operand that has the same values, or nil.
///
///     AlgebraRule("double-negation", Negate.self) { s, _ in s.operands(of: s[0], Negate.self)?[0] }
struct AlgebraRule: Sendable {
  /// What the rule is counted under.
  let name: String
  /// Whether the rule is for ops of this one's type.
  let isFor: @Sendable (any Op) -> Bool
  let apply: @Sendable (Site) throws -> Operand?

  /// A rule for ops of type `T`, a concrete op or a family.
  init<T>(
    _ name: String, _: T.Type = T.self, _ rule: @escaping @Sendable (Site, T) throws -> Operand?
  ) {
    self.name = name
    isFor = { $0 is T }
    apply = { site in
      guard let op = site.op as? T else { return nil }
      return try rule(site, op)
    }
  }

  private init(
    name: String, isFor: @escaping @Sendable (any Op) -> Bool,
    apply: @escaping @Sendable (Site) throws -> Operand?
  ) {
    self.name = name
    self.isFor = isFor
    self.apply = apply
  }

  /// The same rule, for sites where `condition` holds.
  func when(_ condition: @escaping @Sendable (Site) -> Bool) -> AlgebraRule {
    let apply = apply
    return AlgebraRule(name: name, isFor: isFor) { condition($0) ? try apply($0) : nil }
  }
}

/// An application of an op with one result, about to be written to the new graph. All operands are of
/// the new graph and already simple.
struct Site {
  let op: any Op
  let operands: [Operand]
  /// The type of the result.
  let type: TensorType
  let simplifier: Simplifier
  let node: Node
  let depth: Int

  subscript(index: Int) -> Operand { operands[index] }

  func type(of operand: Operand) -> TensorType { simplifier.type(of: operand) }

  // MARK: Looking

  /// The number that all elements of the operand are, where it is known.
  func constant(_ operand: Operand) -> Double? { simplifier.constant(operand.value) }

  func isConstant(_ operand: Operand, _ value: Double) -> Bool { constant(operand) == value }

  /// Of two operands the one that stands beside `value`.
  func other(than value: Double) -> Operand? {
    if isConstant(self[1], value) { return self[0] }
    return isConstant(self[0], value) ? self[1] : nil
  }

  /// The op of kind `T` that makes the operand.
  func op<T>(of operand: Operand, _: T.Type) -> T? { maker(of: operand) as? T }

  /// The operands of the op of kind `T` that makes the operand.
  func operands<T>(of operand: Operand, _: T.Type) -> [Operand]? {
    maker(of: operand) is T ? simplifier.operands(making: operand.value) : nil
  }

  /// All results of the op that makes the operand, its own among them; none where no op makes it.
  func results(besides operand: Operand) -> [Operand] {
    simplifier.results(making: operand.value).map { Operand($0) }
  }

  private func maker(of operand: Operand) -> (any Op)? {
    operand.view == nil ? simplifier.op(making: operand.value) : nil
  }

  /// Whether this site is all that reads the operand, so that what makes it need not be kept.
  func isOnlyReader(of operand: Operand) -> Bool { simplifier.readerCount(operand.value) <= 1 }

  /// Whether the operand can be neither NaN nor infinite.
  func isFinite(_ operand: Operand) -> Bool { simplifier.isFinite(operand.value) }

  // MARK: Making

  /// Another op in place of this one, simplified in turn.
  func make(_ op: any Op, _ operands: Operand...) throws -> Operand { try make(op, operands) }

  func make(_ op: any Op, _ operands: [Operand]) throws -> Operand {
    try simplifier.emit(op, operands, for: node, depth: depth + 1)
  }

  /// A scalar constant.
  func scalar(_ value: Double, _ dtype: DType? = nil) -> Operand {
    simplifier.scalar(value, dtype ?? type.dtype)
  }

  /// The operand repeated to the shape of the result.
  func fit(_ operand: Operand) throws -> Operand {
    type(of: operand).shape == type.shape
      ? operand : try make(Broadcast(to: type.shape), operand)
  }

  /// A result all of whose elements are `value`.
  func fill(_ value: Double) throws -> Operand { try fit(scalar(value)) }

  /// The operand under another shape.
  func reshape(_ operand: Operand, _ shape: Shape) throws -> Operand {
    type(of: operand).shape == shape ? operand : try make(Reshape(shape), operand)
  }
}
